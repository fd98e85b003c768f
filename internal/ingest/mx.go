package ingest

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"sesame/internal/events"
)

// ByMX is a store that first tells the mailbox providers of domains that companies
// have with them, by the hosts that take the domain's mail (its MX records, RFC
// 5321 section 5.1), before it gives the events to Events. A domain that the
// resolver does not answer for in time leaves its events as they are.
type ByMX struct {
	Events   EventStore
	Table    events.MXTable
	Resolver *net.Resolver // nil: the system's
	Now      func() time.Time

	mu     sync.Mutex
	known  map[string]provider // by domain
	paused time.Time           // until then nothing is asked: the resolver does not answer
}

// provider is what is known of a domain.
type provider struct {
	isp   string
	until time.Time
}

const (
	mxWait     = 2 * time.Second // how long the events of a request wait for the resolver
	mxAtOnce   = 32              // questions of one request
	mxKept     = 24 * time.Hour  // an answer
	mxFailed   = 10 * time.Minute
	mxPause    = 10 * time.Second // after a request had to wait for mxWait
	mostMXKept = 100_000          // domains; then all are forgotten
)

// Append is EventStore's.
func (m *ByMX) Append(ctx context.Context, all []events.Event) (added int, err error) {
	m.ask(ctx, m.unknown(all))
	m.mu.Lock()
	for i := range all {
		if e := &all[i]; e.ISP == events.UnknownISP {
			if p, ok := m.known[events.DomainOf(e.Destination)]; ok {
				e.ISP = p.isp
			}
		}
	}
	m.mu.Unlock()
	return m.Events.Append(ctx, all)
}

// unknown gives the domains of which it has to be asked.
func (m *ByMX) unknown(all []events.Event) (domains []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, seen := m.Now(), map[string]bool{}
	if now.Before(m.paused) {
		return nil
	}
	for i := range all {
		if all[i].ISP != events.UnknownISP {
			continue
		}
		domain := events.DomainOf(all[i].Destination)
		if p, ok := m.known[domain]; domain != "" && !seen[domain] && (!ok || now.After(p.until)) {
			seen[domain] = true
			domains = append(domains, domain)
		}
	}
	return domains
}

// ask asks for the hosts of domains, until all are known or the time is over.
func (m *ByMX) ask(ctx context.Context, domains []string) {
	ctx, cancel := context.WithTimeout(ctx, mxWait)
	defer cancel()
	questions := make(chan string)
	var all sync.WaitGroup
	for range min(len(domains), mxAtOnce) {
		all.Go(func() {
			for domain := range questions {
				m.askOne(ctx, domain)
			}
		})
	}
	for _, domain := range domains {
		if ctx.Err() != nil {
			break
		}
		questions <- domain
	}
	close(questions)
	all.Wait()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		m.mu.Lock()
		m.paused = m.Now().Add(mxPause)
		m.mu.Unlock()
	}
}

func (m *ByMX) askOne(ctx context.Context, domain string) {
	resolver := m.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	// The dot keeps the resolver from trying the domain inside the server's own.
	hosts, err := resolver.LookupMX(ctx, domain+".")
	if ctx.Err() != nil {
		return // there was no time for the answer
	}
	p := provider{events.UnknownISP, m.Now().Add(mxKept)}
	var failed *net.DNSError
	if len(hosts) == 0 && err != nil && !(errors.As(err, &failed) && failed.IsNotFound) {
		p.until = m.Now().Add(mxFailed)
	}
	for _, host := range hosts { // the most preferred first
		if p.isp = m.Table.ISP(host.Host); p.isp != events.UnknownISP {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= mostMXKept {
		m.known = map[string]provider{}
	}
	m.known[domain] = p
}
