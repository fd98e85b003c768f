// Command sesame is Amazon SES's bulk side, self-hosted. One file here is one
// subcommand.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"sesame/internal/config"
)

type cli struct {
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	Import   importCmd   `cmd:"" help:"Import a file into an address list of a running server."`
	Keys     keysCmd     `cmd:"" help:"Access keys of a data folder, whether a server runs on it or not."`
	Lists    listsCmd    `cmd:"" help:"Ask a running server about address lists, or write one to a file."`
	Demo     demoCmd     `cmd:"" help:"Start a server in a temporary folder, run an import through it, and feed it a week of mail."`
	Ingest   ingestCmd   `cmd:"" help:"Send email events to a running server, or see what it could not read."`
	Schedule scheduleCmd `cmd:"" name:"schedules" help:"Exports of what is new, again and again: every night at two, for instance."`
	Generate generateCmd `cmd:"" help:"Make up data to try things with."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
	Config      kong.ConfigFlag  `env:"SESAME_CONFIG" placeholder:"FILE" help:"JSON file with flags of serve, such as {\"listen\": \":9025\", \"region\": \"eu-west-1\"}."`
}

func main() {
	userUmask = os.FileMode(syscall.Umask(0o077)) // what the program writes into a data folder is its user's alone
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// userUmask is what the user wants of other files.
var userUmask os.FileMode = 0o077

// output is where commands write.
type output struct{ out, err io.Writer }

// run runs the program and gives its exit status: 0 well, 1 failed, 2 wrong
// usage or configuration, or `import --strict` and a line was refused, 3 `lists
// check` says no.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("sesame"),
		kong.Description("Amazon SES's bulk side, self-hosted: address lists and their import jobs, email events and what is asked of them, spoken to by unchanged AWS SDKs."),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": versionLine()},
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Configuration(func(r io.Reader) (kong.Resolver, error) { return fileResolver(r) }),
		kong.Exit(func(code int) { panic(exit(code)) }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "sesame:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "help" {
		args = append(args[1:], "--help")
	}
	return catchExit(func() int {
		ctx, err := parser.Parse(args)
		if err != nil {
			fmt.Fprintln(stderr, "sesame:", err)
			var parse *kong.ParseError
			if errors.As(err, &parse) {
				fmt.Fprintln(stderr, "Run with --help to see what there is.")
			}
			return 2
		}
		if err := ctx.Run(output{stdout, stderr}); err != nil {
			if errors.Is(err, errNotInList) {
				return 3
			}
			if errors.Is(err, errRefusedLines) {
				return 2
			}
			var wrong usageError
			fmt.Fprintln(stderr, "sesame:", err)
			if errors.As(err, &wrong) {
				return 2
			}
			return 1
		}
		return 0
	})
}

// usageError is an error in how the program was called.
type usageError struct{ error }

// exit is how kong's --help leaves the program.
type exit int

func catchExit(do func() int) (code int) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exit:
			code = int(p)
		default:
			panic(p)
		}
	}()
	return do()
}

// fileResolver gives flags of serve the values of a configuration file.
func fileResolver(r io.Reader) (kong.Resolver, error) {
	var known []string
	k, err := kong.New(&struct{ config.Server }{})
	if err != nil {
		return nil, err
	}
	for _, flag := range k.Model.Flags {
		if flag.Name != "help" {
			known = append(known, flag.Name)
		}
	}
	slices.Sort(known)
	values, err := config.Read(r, known)
	if err != nil {
		return nil, err
	}
	return kong.ResolverFunc(func(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil // the environment goes before the file
			}
		}
		if v, ok := values[flag.Name]; ok {
			if list, ok := v.([]any); ok { // a flag has its values separated by commas
				texts := make([]string, len(list))
				for i := range list {
					texts[i] = fmt.Sprint(list[i])
				}
				return strings.Join(texts, ","), nil
			}
			return fmt.Sprint(v), nil
		}
		return nil, nil
	}), nil
}
