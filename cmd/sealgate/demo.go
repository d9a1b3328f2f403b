package main

import (
	"io"

	"github.com/spf13/cobra"
)

func demoCommand(logs *logFlags, stdout, stderr io.Writer) *cobra.Command {
	return &cobra.Command{Use: "demo"}
}
