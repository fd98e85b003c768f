package main

import (
	"fmt"
	"runtime/debug"
)

// version is what a release build sets with -ldflags.
var version = "development"

type versionCmd struct{}

// Run prints the version and the revision that the program was built from.
func (versionCmd) Run(o output) error {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	_, err := fmt.Fprintf(o.out, "sesame %s (revision %s)\n", version, revision)
	return err
}
