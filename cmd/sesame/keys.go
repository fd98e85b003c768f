package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"sesame/internal/config"
	"sesame/internal/iam"
	"sesame/internal/ingest"
	"sesame/internal/keyfile"
	"sesame/internal/mailmanager"
	"sesame/internal/metadb"
	"sesame/internal/server"
	"sesame/internal/sesv2"
)

type keysCmd struct {
	Create  keysCreate  `cmd:"" help:"Make an access key and print it, once."`
	List    keysList    `cmd:"" help:"List access keys, without their secrets."`
	Disable keysDisable `cmd:"" help:"Make an access key useless for good, from the next request on."`
	Delete  keysDelete  `cmd:"" help:"Delete an access key."`
}

// dataFolder is a data folder that a server may be running on.
type dataFolder struct {
	DataDir string `default:"sesame-data" env:"SESAME_DATA_DIR" placeholder:"DIR" help:"Folder of the server (${default})."`
}

// keys gives the folder's access keys to do.
func (d dataFolder) keys(do func(ctx context.Context, keys metadb.AccessKeys) error) error {
	if _, err := os.Stat(server.DatabasePath(d.DataDir)); err != nil {
		return fmt.Errorf("there is no data folder %s: name it with --data-dir, or make it by starting `sesame serve` once", d.DataDir)
	}
	file, err := keyfile.Open(server.KeyPath(d.DataDir))
	if err != nil {
		return err
	}
	ctx := context.Background()
	db, err := metadb.Open(ctx, server.DatabasePath(d.DataDir))
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, metadb.AccessKeys{DB: db, File: file}), db.Close())
}

type keysCreate struct {
	dataFolder
	Account string `default:"000000000000" env:"SESAME_ACCOUNT_ID" placeholder:"DIGITS" help:"Account that the key belongs to (${default})."`
	Name    string `placeholder:"NAME" help:"Name of the user in the key's ARN. Default: the key's id."`
	Policy  string `placeholder:"FILE" type:"existingfile" help:"IAM policy document with what the key may do. Default: everything."`
}

// Help is what `sesame keys create --help` says above the flags.
func (keysCreate) Help() string {
	return `Example of a policy that lets a mail server ask about one list, find it by its name among all, and do nothing else:

  {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ses:ListAddressLists", "Resource": "*"},
    {"Effect": "Allow", "Action": ["ses:GetMemberOfAddressList", "sesame:MatchAddressList"],
     "Resource": "arn:aws:ses:us-east-1:000000000000:mailmanager-address-list/al-01k..."}]}`
}

// Run makes a key.
func (c keysCreate) Run(o output) error {
	if err := config.CheckAccount(c.Account); err != nil {
		return usageError{fmt.Errorf("--account: %w", err)}
	}
	policy := iam.AdministratorPolicy
	if c.Policy != "" {
		text, err := os.ReadFile(c.Policy)
		if err != nil {
			return err
		}
		parsed, err := iam.Parse(text)
		if err != nil {
			return usageError{fmt.Errorf("the policy %s is refused: %w", c.Policy, err)}
		}
		for _, pattern := range parsed.Unmatched(actions()) {
			fmt.Fprintf(o.err, "sesame: warning: no operation of Sesame's matches the Action %q\n", pattern)
		}
		policy = string(text)
	}
	if c.Policy == "" {
		fmt.Fprintln(o.err, "sesame: the key may do everything in its account; --policy gives it less")
	}
	return c.keys(func(ctx context.Context, keys metadb.AccessKeys) error {
		k, err := iam.NewKey(rand.Reader, c.Account, c.Name, policy, time.Now())
		if err != nil {
			return err
		}
		if err := keys.Add(ctx, k); err != nil {
			return err
		}
		fmt.Fprintf(o.out, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", k.ID, k.Secret)
		return nil
	})
}

// actions are those that a policy can allow.
func actions() (names []string) {
	api := &mailmanager.API{}
	for _, op := range api.Service().Operations {
		names = append(names, "ses:"+op.Name)
	}
	for _, op := range (&sesv2.API{}).Service().Operations {
		names = append(names, "ses:"+op.Name)
	}
	for _, op := range append(api.SesameOperations(), (&ingest.Doors{}).Operations()...) {
		names = append(names, "sesame:"+op.Name)
	}
	return append(names, "sesame:IngestEvents")
}

type keysList struct {
	dataFolder
	Account string `placeholder:"DIGITS" help:"Only this account's."`
}

// Run lists keys.
func (c keysList) Run(o output) error {
	return c.keys(func(ctx context.Context, keys metadb.AccessKeys) error {
		all, err := keys.All(ctx, c.Account)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ACCESS KEY\tACCOUNT\tNAME\tMAY DO\tSTATE\tCREATED")
		for _, k := range all {
			state := "active"
			if k.Disabled {
				state = "disabled"
			}
			may := "what its policy says"
			if k.Policy == iam.AdministratorPolicy {
				may = "everything"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Account, cmp.Or(k.Name, k.ID), may, state, k.Created.Format(time.RFC3339))
		}
		return table.Flush()
	})
}

type keysDisable struct {
	dataFolder
	ID string `arg:"" help:"The access key's id."`
}

// Run disables a key.
func (c keysDisable) Run(o output) error {
	return c.keys(func(ctx context.Context, keys metadb.AccessKeys) error {
		if err := keys.Disable(ctx, c.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(o.out, "disabled", c.ID)
		return err
	})
}

type keysDelete struct {
	dataFolder
	ID string `arg:"" help:"The access key's id."`
}

// Run deletes a key.
func (c keysDelete) Run(o output) error {
	return c.keys(func(ctx context.Context, keys metadb.AccessKeys) error {
		if err := keys.Delete(ctx, c.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(o.out, "deleted", c.ID)
		return err
	})
}
