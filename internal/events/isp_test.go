package events

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestISPTable: the table is in order, no domain is in it twice, and names are ones
// that the API takes.
func TestISPTable(t *testing.T) {
	t.Parallel()
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(ispTable), "\n"), func(line string) bool { return line[0] == '#' })
	var names []string
	of := map[string]string{}
	for _, line := range lines {
		fields := strings.Fields(line)
		name, domains := fields[0], fields[1:]
		names = append(names, name)
		if domains[0] == "fbl" {
			domains = domains[1:]
		}
		if !isISPName(name) || len(name) > 32 || len(domains) == 0 || line != strings.Join(fields, " ") || !slices.IsSorted(domains) {
			t.Errorf("%q", line)
		}
		for _, domain := range domains {
			if domain != strings.ToLower(domain) || !strings.Contains(domain, ".") || strings.Trim(domain, ".@") != domain {
				t.Errorf("%s: %q is no domain", name, domain)
			}
			if other, twice := of[domain]; twice {
				t.Errorf("%q is %s's and %s's", domain, other, name)
			}
			of[domain] = name
		}
	}
	byName := func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
	if !slices.IsSortedFunc(names, byName) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("the names are not in order, or one is there twice")
	}
	if diff := cmp.Diff(append(names, UnknownISP), ISPs()); diff != "" {
		t.Error(diff)
	}
	for _, loop := range FeedbackLoops() {
		if !slices.Contains(names, loop) {
			t.Errorf("the feedback loop of %s, who is not there", loop)
		}
	}
	if slices.Contains(FeedbackLoops(), "Gmail") || !slices.Contains(FeedbackLoops(), "Yahoo") {
		t.Errorf("feedback loops %v", FeedbackLoops())
	}
}

func TestISPOfAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"a@gmail.com": "Gmail", "a@GoogleMail.COM.": "Gmail", "a@hotmail.co.uk": "Outlook", "a@me.com": "Apple", "a@aol.com": "AOL",
		"a@comcast.net": "Comcast", "a@gmx.net": "GMX", "a@web.de": "WebDe", "a@bk.ru": "MailRu", "a@qq.com": "QQ", "a@163.com": "NetEase",
		"a@ya.ru": "Yandex", "a@pm.me": "Proton", "a@zoho.com": "Zoho", `"a@gmail.com"@yahoo.com`: "Yahoo", "yahoo.co.jp": "YahooJapan",
		"a@mail.gmail.com": UnknownISP, "a@example.com": UnknownISP, "a@": UnknownISP, "": UnknownISP,
	} {
		if got := ispOf(DomainOf(address)); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

func TestMXTable(t *testing.T) {
	t.Parallel()
	table, err := ReadMXTable("# ours\n\nGmail google.com googlemail.com.\nOutlook Protection.Outlook.com\nEurope eu.google.com\nGmail google.com\n")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"aspmx.l.google.com.": "Gmail", "ASPMX.L.GOOGLE.COM": "Gmail", "google.com": "Gmail", "mx.eu.google.com": "Europe",
		"example-com.mail.protection.outlook.com": "Outlook", "outlook.com": UnknownISP, "notgoogle.com": UnknownISP, "com": UnknownISP, "": UnknownISP, ".": UnknownISP,
	} {
		if got := table.ISP(host); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
	for bad, want := range map[string]string{
		"Gmail google.com\nG@ x.com":           "line 2: the name of a provider is of A-Z, a-z, 0-9, _ and -",
		"Gmail":                                "line 1: no domain stands after the name of the provider",
		"Gmail google.com\n\nOther GOOGLE.com": "line 3: a domain is another provider's already",
	} {
		if _, err := ReadMXTable(bad); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", bad, err, want)
		}
	}
	if got := (MXTable{}).ISP("google.com"); got != UnknownISP {
		t.Error("an empty table knows", got)
	}
}
