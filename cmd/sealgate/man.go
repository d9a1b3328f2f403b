package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the manual pages from the commands themselves, as completion
// does its scripts. It is for who packages Sealgate, and so not in the list.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Long:   "Write the manual pages, one for each command, into a directory that is there.\nTheir date is SOURCE_DATE_EPOCH, where that is set.",
		Hidden: true,
		Args:   oneReference("directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.InitDefaultCompletionCmd()
			inMarkdown(root)
			return failed(doc.GenManTree(root, &doc.GenManHeader{
				Section: "1", Source: "Sealgate " + version, Manual: "Sealgate",
			}, args[0]))
		},
	}
}

// inMarkdown changes the long texts of a command, and of those below it, which
// are laid out for a terminal, into what the library reads: columns stay columns.
func inMarkdown(cmd *cobra.Command) {
	paragraphs := strings.Split(cmd.Long, "\n\n")
	for i, p := range paragraphs {
		if strings.Contains("\n"+p, "\n  ") {
			paragraphs[i] = "```\n" + p + "\n```"
		}
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	cmd.DisableAutoGenTag = true
	for _, sub := range cmd.Commands() {
		inMarkdown(sub)
	}
}
