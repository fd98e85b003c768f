package yard

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// PostmapConfig makes a folder in dir with what postmap wants to read: nearly
// nothing. An LMDB map may grow to a kilobyte a line, so that postmap, whose default
// is 16 MiB for all, does not run into the limit and start again, doubled, several
// times.
func PostmapConfig(dir string, lines int) (conf string, err error) {
	conf = filepath.Join(dir, "postfix")
	if err := os.MkdirAll(conf, 0o700); err != nil {
		return "", err
	}
	main := filepath.Join(conf, "main.cf")
	if err := os.WriteFile(main, fmt.Appendf(nil, "lmdb_map_size = %d\n", 16<<20+1024*lines), 0o600); err != nil {
		return "", err
	}
	// Postfix programs sleep for up to two seconds beside a main.cf that has just
	// been written, lest they read half of it.
	long := time.Now().Add(-time.Hour)
	return conf, os.Chtimes(main, long, long)
}

// ReadyPostmap tries postmap with kinds of table, such as lmdb, and, where one is
// missing, installs Debian's. For cdb it wants the program cdb as well, which makes
// large tables much sooner than postmap does. It leaves a few files in dir. A Postfix
// that was not there before is left without configuration, which means that it does
// not run.
func ReadyPostmap(ctx context.Context, dir string, kinds ...string) error {
	conf, err := PostmapConfig(dir, 0)
	if err != nil {
		return err
	}
	probe := filepath.Join(dir, "probe")
	if err := os.WriteFile(probe, []byte("a@b.example OK\n"), 0o600); err != nil {
		return err
	}
	try := func() error {
		for _, kind := range kinds {
			out, err := exec.CommandContext(ctx, "postmap", "-c", conf, kind+":"+probe).CombinedOutput()
			if err != nil {
				return fmt.Errorf("postmap with %s: %w\n%s", kind, err, out)
			}
			if kind == "cdb" {
				if _, err := exec.LookPath("cdb"); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if try() == nil {
		return nil
	}
	packages := []string{"postfix"}
	for _, kind := range kinds {
		packages = append(packages, "postfix-"+kind)
		if kind == "cdb" {
			packages = append(packages, "tinycdb")
		}
	}
	Say("postmap or its support of %s is missing: installing the Debian packages %s", strings.Join(kinds, " and "), strings.Join(packages, ", "))
	for _, c := range [][]string{
		{"debconf-set-selections"},
		{"apt-get", "update"},
		append([]string{"apt-get", "install", "-y"}, packages...),
	} {
		install := exec.CommandContext(ctx, c[0], c[1:]...)
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		install.Stdin = strings.NewReader("postfix postfix/main_mailer_type select No configuration\n")
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%sInstall %s by hand, then run this again", install, err, out, strings.Join(packages, ", "))
		}
	}
	return try()
}

// Postfix names the version of Postfix.
func Postfix(ctx context.Context) (string, error) {
	version, err := Printed(ctx, "postconf", "-d", "-h", "mail_version")
	return "Postfix " + version, err
}
