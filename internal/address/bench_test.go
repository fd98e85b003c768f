package address

import "testing"

func BenchmarkParse(b *testing.B) {
	for _, bm := range []struct{ name, entry string }{
		{"address", "first.last123@example.com"}, // 25 bytes
		{"mixedcase", "First.Last123@Example.COM"},
		{"domain", "mail.subdomain.example.co"},
		{"prefix", "first.last*@mail.example."},
		{"subdomains", "*.subdomain.example.co.uk"},
		{"quoted", `"first last"@example.com.`},
		{"refused", "first last123@example.com"},
		{"utf8", "fürst.läst12@example.com"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var p Parser
			in := []byte(bm.entry)
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				_, _ = p.Parse(in)
			}
		})
	}
}

// A look-up's part: from the mailbox as written to the hashes of all the entries
// that would hold it, and, of lists that hold only addresses and domains, of two.
func BenchmarkCandidates(b *testing.B) {
	for _, bm := range []struct {
		name string
		has  Kinds
	}{
		{"parse", 0},
		{"exact-or-domain", Exact | Domain},
		{"all", AllKinds},
	} {
		b.Run(bm.name, func(b *testing.B) {
			in := []byte("firstname.lastname12@sub.mail.example")
			var p Parser
			var candidates []Candidate
			b.ReportAllocs()
			for b.Loop() {
				m, err := p.Mailbox(in)
				if err != nil {
					b.Fatal(err)
				}
				candidates = m.Candidates(bm.has, candidates[:0])
			}
		})
	}
}

func BenchmarkHash(b *testing.B) {
	key := []byte("firstname.lastname12@sub.mail.example")
	b.ReportAllocs()
	for b.Loop() {
		Hash(key)
	}
}
