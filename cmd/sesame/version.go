package main

import (
	"fmt"
	"runtime/debug"
)

// revision is what `make build` sets with -ldflags.
var version, revision = "development", "unknown"

type versionCmd struct{}

// Run prints the version and the revision that the program was built from.
func (versionCmd) Run(o output) error {
	_, err := fmt.Fprintln(o.out, versionLine())
	return err
}

func versionLine() string {
	revision := revision
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return fmt.Sprintf("sesame %s (revision %s)", version, revision)
}
