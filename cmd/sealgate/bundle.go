package main

import (
	"fmt"
	"io"

	"github.com/sealgate/sealgate/proxy/bundle"
	"github.com/spf13/cobra"
)

func bundleCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry signed images to a site that reaches no registry and no Notary server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(stderr)
			cmd.Help()
			return usage("a command is needed: bundle save or bundle load")
		},
	}
	cmd.AddCommand(saveCommand(stdout, stderr), loadCommand(stdout, stderr))
	return cmd
}

// oneBundle replaces cobra's words.
func oneBundle(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s: one bundle is expected, an archive or a directory, got %d arguments", cmd.Name(), len(args))
	}
	return nil
}

// openBundle opens a bundle for a command; an error names it.
func openBundle(name string) (*bundle.Bundle, error) {
	b, err := bundle.Open(name)
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", name, err))
	}
	return b, nil
}
