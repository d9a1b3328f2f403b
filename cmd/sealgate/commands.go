package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/spf13/cobra"
)

// version is set by the linker in releases.
var version = "dev"

// logFlags are the flags that every command has.
type logFlags struct {
	format, level string
}

// logger makes the log of a command. byDefault is its format where none was
// asked for.
func (f *logFlags) logger(w io.Writer, byDefault string) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(f.level)
	// The library has more: silence about what goes wrong, and bare numbers.
	if err != nil || level < zerolog.TraceLevel || level > zerolog.ErrorLevel || !strings.EqualFold(level.String(), f.level) {
		return zerolog.Nop(), usage("--log-level %q: one of trace, debug, info, warn, error is expected", f.level)
	}
	format := f.format
	if format == "" {
		format = byDefault
	}
	switch format {
	case "json":
	case "console":
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	default:
		return zerolog.Nop(), usage("--log-format %q: json or console is expected", format)
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func failed(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{exitFailed, err}
}

// loadConfig reads and checks the file; a problem is bad configuration.
func loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s cannot be used:\n%w", path, err)}
	}
	return cfg, nil
}

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	logs := &logFlags{}
	root := &cobra.Command{
		Use:           "sealgate",
		Version:       version,
		Short:         "A registry proxy that makes unsigned tags invisible",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(stderr)
			cmd.Help()
			return usage("a command is needed")
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().StringVar(&logs.format, "log-format", "", "json or console (default json for serve, console otherwise)")
	root.PersistentFlags().StringVar(&logs.level, "log-level", "info", "trace, debug, info, warn or error (demo: warn unless given)")
	completes(root, "log-format", "json", "console")
	completes(root, "log-level", "trace", "debug", "info", "warn", "error")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		_, err := logs.logger(io.Discard, "json") // a bad flag is bad usage of any command
		return err
	}
	root.AddCommand(
		serveCommand(logs, stderr),
		demoCommand(logs, stdout, stderr),
		checkCommand(stdout),
		inspectCommand(stdout),
		approveCommand(stdout),
		forgetCommand(stdout),
		cacheCommand(stdout, stderr),
		bundleCommand(stdout, stderr),
		doctorCommand(stdout),
		reportCommand(os.Stdin, stdout),
		versionCommand(stdout),
		manCommand(),
	)
	return root
}

// completes has a shell offer these words for a flag that the command has.
func completes(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("config", "proxy.yaml", "the configuration file")
}

// oneReference and noReference replace cobra's words, which do not say what is
// expected.
func oneReference(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s: one %s is expected, got %d arguments", cmd.Name(), what, len(args))
		}
		return nil
	}
}

func noReference(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return usage("%s: no argument is expected, got %q: name the configuration with --config", cmd.Name(), args[0])
	}
	return nil
}

func checkCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Name every problem of the configuration with its line and key",
		Long: `Name every problem of the configuration with its line and key, and what is
allowed but worth a thought as "warning:". It contacts nobody and opens no port;
the files that the configuration names are read.

With --online it tries what the configuration names, all of it, and says how long
each took: state-dir, the storage (an object is written, read, listed and
deleted), each registry with the credentials of the configuration, and each
Notary server. Run it as the user and on the machine that Sealgate runs as and on.

Exit codes: 0 it can be used, warnings or not; 1 something that was tried online
failed; 2 it cannot be used.`,
		Args: noReference,
	}
	path := configFlag(cmd)
	tries := cmd.Flags().Bool("online", false, "try the storage, each registry and each Notary server")
	asJSON := cmd.Flags().Bool("json", false, "print what was tried as JSON (with --online)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON && !*tries {
			return usage("--json goes with --online")
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		if _, err := openDriver(cfg.Storage); err != nil { // it asks nobody
			return &exitError{exitUsage, fmt.Errorf("%s cannot be used:\n%w", *path, err)}
		}
		if *asJSON {
			return checkOnline(cmd.Context(), stdout, cfg, true)
		}
		for _, warning := range append(cfg.Warnings(), thisMachine(cfg)...) {
			fmt.Fprintf(stdout, "warning: %s\n", warning)
		}
		fmt.Fprintf(stdout, "%s: ok\n", *path)
		if *tries {
			return checkOnline(cmd.Context(), stdout, cfg, false)
		}
		return nil
	}
	return cmd
}

func versionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(stdout, "sealgate %s (%s, %s/%s%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision())
			return nil
		},
	}
}

// revision is the commit that the binary was built from, where that is known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var parts []string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			parts = append(parts, ", "+s.Value[:min(12, len(s.Value))])
		case s.Key == "vcs.modified" && s.Value == "true":
			parts = append(parts, " modified")
		}
	}
	return strings.Join(parts, "")
}
