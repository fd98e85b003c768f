package lists_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sesame/internal/address"
	"sesame/internal/lists"
)

const benchmarkRows = 1_000_000

// benchmarkMailbox gives mailbox number n of those that are members, or of as
// many others.
func benchmarkMailbox(n int, member bool) string {
	first := []string{"maria", "wei", "john", "fatima", "olu", "sofia", "liam", "yuki"}[n%8]
	part := "m"
	if !member {
		part = "n"
	}
	domain := fmt.Sprintf("company%d.example", n*7919%20_011)
	if n%3 == 0 {
		domain = "mail." + domain
	}
	return fmt.Sprintf("%s.%s%06d@%s", first, part, n, domain)
}

// benchmarkKeys gives the keys of a list of n rows in order. One in a hundred is
// a pattern: of every kind as many, prefixes of every length.
func benchmarkKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		key := benchmarkMailbox(i, true)
		if i%100 == 0 {
			local, domain, _ := strings.Cut(key, "@")
			domain = "p" + domain // so that none of them holds the other mailboxes
			switch kind := i / 100 % 23; kind {
			case 20:
				key = fmt.Sprintf("x%d.%s", i, domain)
			case 21:
				key = fmt.Sprintf("*.x%d.%s", i, domain)
			case 22:
				key = local + "@*." + domain
			default:
				key = fmt.Sprintf("%0*d", kind, i)
				key = key[len(key)-kind:] + fmt.Sprintf("*@x%d.%s", i, domain)
			}
		}
		keys[i] = []byte(key)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// BenchmarkMatch asks a list of a million, a hundredth of it patterns, for
// mailboxes that are members, that patterns hold, and that nothing holds; with
// the members in the file alone, and with a thousand changes besides.
func BenchmarkMatch(b *testing.B) {
	s, _, list := newService(b)
	s.Limits.Members = benchmarkRows + 10_000
	keys := benchmarkKeys(benchmarkRows)
	p := plan(s, lists.Append)
	p.Exact, p.Patterns = benchmarkRows*99/100, benchmarkRows/100
	at := 0
	p.Next = func() (lists.Entry, error) {
		if at == len(keys) {
			return lists.Entry{}, io.EOF
		}
		at++
		return lists.Entry{Key: keys[at-1]}, nil
	}
	if _, err := s.Rebuild(ctx, ann, list, p); err != nil {
		b.Fatal(err)
	}

	random := rand.New(rand.NewPCG(1, 1))
	const asked = 1 << 16
	members, others, held := make([]string, asked), make([]string, asked), make([]string, asked)
	var patterns []string
	for _, key := range keys {
		if _, kind := address.Hash(key); kind != address.Exact {
			mailbox := string(key)
			switch kind {
			case address.Domain:
				mailbox = "someone@" + mailbox
			case address.Subdomains:
				mailbox = strings.Replace(mailbox, "*", "someone@below", 1)
			case address.LocalAtSubdomains:
				mailbox = strings.Replace(mailbox, "*", "below", 1)
			default:
				mailbox = strings.Replace(mailbox, "*", "-and-more", 1)
			}
			patterns = append(patterns, mailbox)
		}
	}
	for n := range asked {
		at := 100*random.IntN(benchmarkRows/100) + 1 + random.IntN(99) // none that gave way to a pattern
		members[n], others[n] = benchmarkMailbox(at, true), benchmarkMailbox(at, false)
		held[n] = patterns[random.IntN(len(patterns))]
	}
	for _, with := range []string{"file", "file and changes"} {
		if with != "file" {
			for n := range 1000 {
				register(b, s, list, fmt.Sprintf("changed%d@example.com", n))
			}
		}
		for _, ask := range []struct {
			name      string
			mailboxes []string
			held      bool
		}{{"member", members, true}, {"pattern", held, true}, {"none", others, false}} {
			b.Run(with+"/"+ask.name, func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					mailbox := ask.mailboxes[n%asked]
					if _, ok, err := s.Match(ctx, ann, list, mailbox); ok != ask.held || err != nil {
						b.Fatalf("%s is held: %v, error %v", mailbox, ok, err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "matches/s")
			})
		}
	}
}
