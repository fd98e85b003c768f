package events

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// UnknownISP is the ISP of a domain that is not in the table.
const UnknownISP = "UNKNOWN_ISP"

// The table has a line for each provider: its name, whether it tells SES of
// complaints (fbl), and its domains.
//
//go:embed isps.txt
var ispTable string

var ispByDomain, ispNames, feedbackLoops = readISPs(ispTable)

func readISPs(table string) (byDomain map[string]string, names, loops []string) {
	byDomain = map[string]string{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		name, rest := fields[0], fields[1:]
		names = append(names, name)
		if rest[0] == "fbl" {
			loops, rest = append(loops, name), rest[1:]
		}
		for _, domain := range rest {
			byDomain[domain] = name
		}
	}
	return byDomain, append(names, UnknownISP), loops
}

// ispOf gives the mailbox provider of a domain in lower case.
func ispOf(domain string) string {
	if name, ok := ispByDomain[domain]; ok {
		return name
	}
	return UnknownISP
}

// ISPs gives the names of all mailbox providers that Decode gives, in order, and
// UnknownISP last.
func ISPs() []string { return slices.Clone(ispNames) }

// FeedbackLoops gives the names of those that tell SES of complaints, in order.
func FeedbackLoops() []string { return slices.Clone(feedbackLoops) }

// MXTable tells mailbox providers by the hosts that take their mail, for domains
// that companies have with them. An operator gives it (--isp-mx); who asks it has
// looked up the MX of the recipient's domain.
type MXTable struct {
	bySuffix map[string]string
}

// ReadMXTable reads a table of a line for each provider: its name, of A-Z, a-z,
// 0-9, _ and -, and the domains of its mail hosts, "Gmail google.com". Lines that
// begin with # are comments. The error says which line is wrong.
func ReadMXTable(table string) (MXTable, error) {
	t := MXTable{map[string]string{}}
	n := 0
	for line := range strings.Lines(table) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := t.add(fields[0], fields[1:]); err != nil {
			return MXTable{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return t, nil
}

func (t MXTable) add(name string, suffixes []string) error {
	if !isISPName(name) {
		return errors.New("the name of a provider is of A-Z, a-z, 0-9, _ and -")
	}
	if len(suffixes) == 0 {
		return errors.New("no domain stands after the name of the provider")
	}
	for _, suffix := range suffixes {
		suffix = hostName(suffix)
		if other, twice := t.bySuffix[suffix]; twice && other != name {
			return errors.New("a domain is another provider's already")
		}
		t.bySuffix[suffix] = name
	}
	return nil
}

// isISPName says whether SES v2 takes the name: BatchGetMetricData takes no others.
func isISPName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	})
}

func hostName(host string) string { return strings.ToLower(strings.Trim(host, ".")) }

// ISP gives the mailbox provider that has a mail host, by the longest domain of the
// table that the host is or is in; UnknownISP for none.
func (t MXTable) ISP(host string) string {
	for host = hostName(host); host != ""; _, host, _ = strings.Cut(host, ".") {
		if name, ok := t.bySuffix[host]; ok {
			return name
		}
	}
	return UnknownISP
}
