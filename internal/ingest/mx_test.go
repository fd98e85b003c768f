package ingest_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"sesame/internal/events"
	"sesame/internal/ingest"
)

// nameServer answers for MX records over UDP, and says how often it was asked.
func nameServer(t *testing.T, hosts map[string]string) (resolver *net.Resolver, asked func() int) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:size]); err != nil {
				t.Error(err)
				continue
			}
			mu.Lock()
			n++
			mu.Unlock()
			q := m.Questions[0]
			host, ok := hosts[q.Name.String()]
			if ok && host == "" {
				continue // never answers
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if !ok {
				m.RCode = dnsmessage.RCodeNameError
			} else {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeMX, Class: dnsmessage.ClassINET, TTL: 60},
					Body:   &dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName(host)},
				}}
			}
			answer, err := m.Pack()
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	return resolver, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func TestProvidersByMX(t *testing.T) {
	p := open(t, nil)
	resolver, asked := nameServer(t, map[string]string{"shop.example.": "aspmx.l.google.com.", "other.example.": "mail.other.example.", "silent.example.": ""})
	table, err := events.ReadMXTable("Gmail google.com")
	p.must(err)
	store := &ingest.ByMX{Events: p.events, Table: table, Resolver: resolver, Now: p.clock}
	src := events.Source{Account: ann, Region: east}
	n := 0
	bring := func(to ...string) (isps []string) {
		t.Helper()
		var all []events.Event
		n++
		for _, address := range to {
			found, err := events.Decode(src, fmt.Appendf(nil, `{"eventType":"Send","mail":{"messageId":"m%d","timestamp":"2026-03-01T12:00:00Z","destination":[%q]}}`, n, address))
			p.must(err)
			all = append(all, found...)
		}
		_, err := store.Append(p.ctx, all)
		p.must(err)
		stored, err := p.events.Message(p.ctx, src, fmt.Sprint("m", n))
		p.must(err)
		by := map[string]string{}
		for _, e := range stored {
			by[e.Destination] = e.ISP
		}
		for _, address := range to {
			isps = append(isps, by[address])
		}
		return isps
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	check(bring("a@Shop.example", "b@shop.example", "c@other.example", "d@none.example", "e@yahoo.com", ""),
		"Gmail", "Gmail", events.UnknownISP, events.UnknownISP, "Yahoo", events.UnknownISP)
	if got := asked(); got != 3 {
		t.Errorf("%d questions were asked about three domains", got)
	}
	check(bring("x@shop.example", "y@none.example"), "Gmail", events.UnknownISP)
	if got := asked(); got != 3 {
		t.Errorf("%d questions were asked: answers are not kept", got)
	}
	p.pass(25 * time.Hour)
	check(bring("z@shop.example"), "Gmail")
	if got := asked(); got != 4 {
		t.Errorf("%d questions were asked: an answer is kept too long", got)
	}
	start := time.Now()
	check(bring("a@silent.example", "b@shop.example"), events.UnknownISP, "Gmail")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("a resolver that does not answer held up events for %v", took)
	}
	before := asked()
	check(bring("b@silent.example"), events.UnknownISP)
	if asked() != before {
		t.Error("a domain that was not answered for is asked about again at once")
	}
}
