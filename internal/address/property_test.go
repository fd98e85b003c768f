package address

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// TestOneRoundOfFolding proves what appendCanonical relies on: a character that
// NFD leaves alone folds to characters that both NFD and folding leave alone.
// So folding an NFD text gives a text that is canonically equivalent to its own
// folding, and NFC of it is stable.
func TestOneRoundOfFolding(t *testing.T) {
	t.Parallel()
	for r := range unicode.MaxRune + 1 {
		if !utf8.ValidRune(r) || !norm.NFD.IsNormalString(string(r)) {
			continue
		}
		folded := string(fold([]byte(string(r))))
		if folded == string(r) {
			continue
		}
		for _, f := range folded {
			if s := string(f); !norm.NFD.IsNormalString(s) || string(fold([]byte(s))) != s {
				t.Errorf("%U folds to %U, which is not stable", r, f)
			}
		}
	}
}

// TestEveryCharacter puts every assigned character into every kind of place, but
// of the largest scripts, whose characters are all alike, only some.
func TestEveryCharacter(t *testing.T) {
	t.Parallel()
	const lastOfTags = 0xE01EF
	var p Parser
	for r := range rune(lastOfTags + 1) {
		alike := unicode.In(r, unicode.Unified_Ideograph, unicode.Hangul, unicode.Tangut, unicode.Egyptian_Hieroglyphs, unicode.Yi)
		if alike && r%101 != 0 || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf) {
			continue
		}
		for _, in := range []string{
			"a" + string(r) + "b@d.example",
			string(r) + "*@d.example",
			"\"a" + string(r) + "b\"@d.example",
			"a@b" + string(r) + "c.example",
		} {
			e, err := p.Parse([]byte(in))
			if err == nil {
				checkEntry(t, in, e)
			}
		}
	}
}

// Pieces that make entries of every kind, mostly right and otherwise, with
// characters whose case, composition or class changes in canonical form.
var (
	goodPieces = rapid.SampledFrom([]string{
		"a", "B", "é", "E\u0301", "\u0301", "\u0345", "\u0390", "ß", "\u0130", "\u1f88", "\u212a", "\u0338",
		"\u13a0", "\uab70", "\u1e9b\u0323", "0", "9", "a.", "-b", "ab.cd",
	})
	oddPieces = rapid.SampledFrom([]string{
		"\u037e", "<", ".", "..", "-", "_", "+", "*", "@", `"`, `\`, `\"`, `\\`, " ", "\t", "\x00", "\xff", "。", "ｘn--",
		"xn--", "kva", "\u00ad", "א", "[", "]", "*.", "@*.", "*@", "@d.example", ".example", "\u00a0", "\u034f",
	})
)

func drawEntry(t *rapid.T) string {
	var all []string
	for range rapid.IntRange(0, 6).Draw(t, "pieces") {
		if rapid.IntRange(0, 5).Draw(t, "odd") == 0 {
			all = append(all, oddPieces.Draw(t, "piece"))
		} else {
			all = append(all, goodPieces.Draw(t, "piece"))
		}
	}
	s := strings.Join(all, "")
	switch rapid.IntRange(0, 4).Draw(t, "frame") {
	case 1:
		return s + "@d.example"
	case 2:
		return `"` + s + `"@d.example`
	case 3:
		return "a@" + s + ".example"
	case 4:
		return s + "*@d.example"
	}
	return s
}

func TestParseIsIdempotent(t *testing.T) {
	tried, accepted := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		in := drawEntry(t)
		e, err := Parse(in)
		tried++
		if err != nil {
			if _, ok := err.(Reason); !ok {
				t.Fatalf("%q: error %T", in, err)
			}
			return
		}
		accepted++
		checkEntry(t, in, e)
	})
	if accepted*4 < tried {
		t.Errorf("%d accepted of %d say little", accepted, tried)
	}
}

// TestSpellings: capitals, blanks, a dot at the end, quotes that are not needed
// and decomposed characters make no other entry.
func TestSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-zé0-9+]{1,5}(\.[a-zéß]{1,3})?`).Draw(t, "local")
		domain := rapid.StringMatching(`([a-z0-9ü]{1,4}\.){1,3}[a-zü]{2,3}`).Draw(t, "domain")
		form := rapid.SampledFrom([]string{"L@D", "D", "L*@D", "*@D", "*.D", "L@*.D"}).Draw(t, "form")
		entry := func(local, domain string) string {
			return strings.NewReplacer("L", local, "D", domain).Replace(form)
		}
		want, err := Parse(entry(local, domain))
		if err != nil {
			t.Fatalf("%q: %v", entry(local, domain), err)
		}
		capitals := func(s string) string {
			flips := rapid.SliceOfN(rapid.Bool(), len(s), len(s)).Draw(t, "flips")
			i := -1
			return strings.Map(func(r rune) rune {
				i++
				if flips[i] {
					return unicode.ToUpper(r)
				}
				return r
			}, s)
		}
		local, domain = capitals(local), capitals(domain)
		if rapid.Bool().Draw(t, "decomposed") {
			local, domain = norm.NFD.String(local), norm.NFD.String(domain)
		}
		if rapid.Bool().Draw(t, "quoted") && form != "L*@D" {
			local = `"` + local + `"`
		}
		if rapid.Bool().Draw(t, "dot") {
			domain += "."
		}
		in := entry(local, domain)
		if rapid.Bool().Draw(t, "blanks") {
			in = " \t" + in + "\t "
		}
		got, err := Parse(in)
		if err != nil || !bytes.Equal(got.Key, want.Key) || got.Kind != want.Kind {
			t.Fatalf("%q: %q, %v; want %q", in, got.Key, err, want.Key)
		}
	})
}

// TestParserKeepsNothing: what a Parser parsed before makes no difference.
func TestParserKeepsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Parser
		for range 5 {
			in := drawEntry(t)
			got, err := p.Parse([]byte(in))
			want, wantErr := Parse(in)
			if err != wantErr || !bytes.Equal(got.Key, want.Key) || !bytes.Equal(got.Shown, want.Shown) || got.Kind != want.Kind {
				t.Fatalf("%q: %q, %q, %v; want %q, %q, %v", in, got.Key, got.Shown, err, want.Key, want.Shown, wantErr)
			}
			box, err := p.Mailbox([]byte(in))
			wantBox, wantErr := ParseMailbox(in)
			if err != wantErr || !bytes.Equal(box.key, wantBox.key) || box.at != wantBox.at {
				t.Fatalf("%q: mailbox %q, %v; want %q, %v", in, box.key, err, wantBox.key, wantErr)
			}
		}
	})
}

// naive matches by comparing texts, as the rules are told, and knows nothing of
// keys and kinds. It takes ASCII entries and mailboxes in lower case; mailboxes
// are given as local part (without quotes) and domain.
func naive(entry, local, domain string) bool {
	if suffix, ok := strings.CutPrefix(entry, "*."); ok {
		return strings.HasSuffix(domain, "."+suffix)
	}
	if !strings.Contains(entry, "@") {
		return domain == entry
	}
	at := strings.LastIndex(entry, "@")
	entryLocal, entryDomain := entry[:at], entry[at+1:]
	if prefix, ok := strings.CutSuffix(entryLocal, "*"); ok {
		return domain == entryDomain && strings.HasPrefix(local, prefix)
	}
	if strings.HasPrefix(entryLocal, `"`) {
		entryLocal = strings.Trim(entryLocal, `"`)
	}
	if suffix, ok := strings.CutPrefix(entryDomain, "*."); ok {
		return local == entryLocal && strings.HasSuffix(domain, "."+suffix)
	}
	return local == entryLocal && domain == entryDomain
}

var (
	tinyDomain = rapid.StringMatching(`([ab]\.){1,4}b`)
	deepDomain = rapid.StringMatching(`(a\.){8,11}b`)
	someDomain = rapid.OneOf(tinyDomain, tinyDomain, tinyDomain, deepDomain)
	tinyEntry  = rapid.Custom(func(t *rapid.T) string {
		local := rapid.OneOf(
			rapid.StringMatching(`[ab]{1,3}`),
			rapid.StringMatching(`a\.[ab]`),
			rapid.StringMatching(`"[ab]{0,2} [ab]"`),
			rapid.StringMatching(`"\.?[ab]\.{1,2}"`),
			rapid.StringMatching(`a{18,21}`),
		).Draw(t, "local")
		prefix := rapid.OneOf(
			rapid.StringMatching(`[ab]{0,3}`),
			rapid.StringMatching(`a\.[ab]?`),
			rapid.StringMatching(`a{17,19}`),
		).Draw(t, "prefix")
		form := rapid.SampledFrom([]string{"L@D", "D", "P*@D", "P*@D", "*.D", "L@*.D"}).Draw(t, "form")
		return strings.NewReplacer("L", local, "P", prefix, "D", someDomain.Draw(t, "domain")).Replace(form)
	})
	tinyLocal = rapid.OneOf(
		rapid.StringMatching(`[ab]{1,3}`),
		rapid.StringMatching(`[ab.* ]{0,4}`),
		rapid.StringMatching(`a{17,22}`),
	)
)

func TestMatchingAgreesWithNaive(t *testing.T) {
	tried, hits := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		keys := map[string]bool{}
		var has Kinds
		var entries []string
		for _, in := range rapid.SliceOfN(tinyEntry, 1, 12).Draw(t, "entries") {
			e, err := Parse(in)
			if err == WildcardLevels {
				continue
			}
			if err != nil {
				t.Fatalf("%q: %v", in, err)
			}
			keys[string(e.Key)] = true
			has |= e.Kind
			entries = append(entries, in)
		}
		for range 4 {
			local, domain := tinyLocal.Draw(t, "local"), someDomain.Draw(t, "domain")
			m, err := ParseMailbox(`"` + local + `"@` + domain)
			if err != nil {
				t.Fatalf("%q at %q: %v", local, domain, err)
			}
			// Unquoted, a blank before it would not count.
			if plain, err := ParseMailbox(local + "@" + domain); err == nil && !bytes.Equal(plain.key, m.key) && local[0] != ' ' {
				t.Fatalf("%q is %q in quotes", plain.key, m.key)
			}

			want := false
			for _, e := range entries {
				want = want || naive(e, local, domain)
			}
			if got := holds(t, m, has, keys); got != want {
				t.Fatalf("%q hold %q at %q: %v, naively %v", entries, local, domain, got, want)
			}
			if got := holds(t, m, AllKinds, keys); got != want {
				t.Fatalf("%q hold %q at %q, tried for all kinds: %v, naively %v", entries, local, domain, got, want)
			}
			tried++
			if want {
				hits++
			}
		}
	})
	if hits*10 < tried || hits*10 > tried*9 {
		t.Errorf("%d hits of %d say little", hits, tried)
	}
}

// TestCandidates: each candidate is the key of an entry of a wanted kind that
// holds the mailbox, none comes twice, they come best first, and no entry that
// holds the mailbox lacks among them.
func TestCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local, domain := tinyLocal.Draw(t, "local"), someDomain.Draw(t, "domain")
		m, err := ParseMailbox(`"` + local + `"@` + domain)
		if err != nil {
			t.Fatalf("%q at %q: %v", local, domain, err)
		}
		all := spell(t, m, AllKinds)
		has := Kinds(rapid.Uint32().Draw(t, "has")) & AllKinds
		var wanted []string
		best := 0
		seen := map[string]bool{}
		for _, key := range all {
			e, err := Parse(key)
			if err != nil || string(e.Key) != key {
				t.Fatalf("candidate %q is no key: %q, %v", key, e.Key, err)
			}
			if !naive(key, local, domain) {
				t.Fatalf("candidate %q does not hold %q at %q", key, local, domain)
			}
			if seen[key] {
				t.Fatalf("candidate %q comes twice", key)
			}
			seen[key] = true
			if e.Kind&has != 0 {
				wanted = append(wanted, key)
			}
			rank := 0
			switch e.Kind {
			case Exact:
			case Domain:
				rank = 1
			case LocalAtSubdomains:
				rank = 10000 - 2*len(key[strings.LastIndexByte(key, '@')+1:])
			case Subdomains:
				rank = 10000 - 2*len(key) + 1
			default:
				rank = 1000 - len(key)
			}
			if rank < best {
				t.Fatalf("%q comes too late in %q", key, all)
			}
			best = rank
		}
		if got := spell(t, m, has); !slices.Equal(got, wanted) {
			t.Fatalf("for kinds %b: %q, want %q", has, got, wanted)
		}
		// Every entry that could hold it, spelled out.
		var entries []string
		for i := range len(local) + 1 {
			if i > 0 && local[0] == ' ' {
				break // unquoted, a blank before it would not count
			}
			entries = append(entries, local[:i]+"*@"+domain)
		}
		entries = append(entries, domain, `"`+local+`"@`+domain)
		for i := range domain {
			if domain[i] == '.' {
				d := domain[i+1:]
				entries = append(entries, "*."+d, `"`+local+`"@*.`+d)
			}
		}
		for _, in := range entries {
			if e, err := Parse(in); err == nil && !seen[string(e.Key)] {
				t.Fatalf("entry %q holds %q at %q and is not in %q", in, local, domain, all)
			}
		}
	})
}

// TestUnicodeCandidates: beyond ASCII, too, each candidate is a key as Parse
// gives it, and every accepted prefix of a mailbox's spelling that folds to a
// prefix of its canonical form is among them.
func TestUnicodeCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawEntry(t)
		m, err := ParseMailbox(in)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, key := range spell(t, m, AllKinds) {
			e, err := Parse(key)
			if err != nil || string(e.Key) != key {
				t.Fatalf("%q: candidate %q is no key: %q, %v", in, key, e.Key, err)
			}
			seen[key] = true
		}
		text, domain := string(m.key[:m.at]), string(m.key[m.at+1:])
		canonical := strings.TrimPrefix(text, `"`)
		local := strings.TrimLeft(in, " \t")
		for i := range local {
			e, err := Parse(local[:i] + "*@" + domain)
			if err != nil {
				continue
			}
			prefix := strings.TrimSuffix(string(e.Key), "*@"+domain)
			if strings.HasPrefix(canonical, prefix) && !seen[string(e.Key)] {
				t.Fatalf("%q: entry %q is no candidate", in, e.Key)
			}
		}
	})
}
