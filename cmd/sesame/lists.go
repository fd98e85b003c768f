package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
)

type listsCmd struct {
	Check  listsCheck  `cmd:"" help:"Say whether addresses are in a list, and which entry matches."`
	Export listsExport `cmd:"" help:"Write all members of a list to a file that an import reads."`
}

type listsCheck struct {
	client
	List      string   `required:"" placeholder:"NAME|ID" help:"The address list."`
	Addresses []string `arg:"" help:"Addresses as mail has them."`
}

// Help is what `sesame lists check --help` says above the flags.
func (listsCheck) Help() string {
	return `Prints a line for each address: "yes", the address and the entry that matches it; or "no" and the address. An exact entry goes before a wildcard, a longer one before a shorter.

The exit status is 0 when every address is in the list, and 3 when one is not.

Example:
  sesame lists check --list blocked someone@example.com other@example.org`
}

// matchesPerCall is how many addresses the operation takes at once.
const matchesPerCall = 1000

// matchAnswer is what MatchAddressList answers.
type matchAnswer struct{ Matches []match }

type match struct {
	Address, Entry, Error string
	Matched               bool
}

// String is a match as people read it.
func (m match) String() string {
	switch {
	case m.Error != "":
		return fmt.Sprintf("no   %s (%s)", m.Address, m.Error)
	case m.Matched:
		return fmt.Sprintf("yes  %s (by %s)", m.Address, m.Entry)
	}
	return "no   " + m.Address
}

// Run asks and prints.
func (c listsCheck) Run(o output) error {
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	id, err := listID(ctx, mailmanager.NewFromConfig(cfg), c.List)
	if err != nil {
		return c.kinder(err)
	}
	all := true
	for asked := c.Addresses; len(asked) > 0; {
		n := min(len(asked), matchesPerCall)
		var answer matchAnswer
		err := sesame(ctx, cfg, "MatchAddressList", map[string]any{"AddressListId": id, "Addresses": asked[:n]}, &answer)
		if err != nil {
			return c.kinder(err)
		}
		for _, m := range answer.Matches {
			fmt.Fprintln(o.out, m)
			all = all && m.Matched
		}
		asked = asked[n:]
	}
	if !all {
		return errNotInList
	}
	return nil
}

// errNotInList is an answer rather than an error; it has an exit status of its own.
var errNotInList = errors.New("not in the list")
