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

func BenchmarkCandidates(b *testing.B) {
	m, err := ParseMailbox("first.last123@mail.example.com")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Candidates(AllKinds)
	}
}
