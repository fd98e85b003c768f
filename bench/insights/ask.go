package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sesame/bench/yard"
	"sesame/internal/generate"
)

// client asks one server.
type client struct {
	url   string
	keys  []aws.Credentials // of each account of the store
	wants wants
	store yard.EventStore
}

// call makes a signed call, and gives the answer and how long it took from sending
// to its last byte.
func (c *client) call(ctx context.Context, key aws.Credentials, method, path string, body []byte) (answer []byte, took time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	digest := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(digest[:]), "ses", yard.Region, time.Now()); err != nil {
		return nil, 0, err
	}
	start := time.Now()
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer a.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(a.Body, 8<<20))
	took = time.Since(start)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, a.Status, answer)
	}
	return answer, took, err
}

// measure asks all questions while events come in.
func (c *client) measure(ctx context.Context, t *table) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// What comes in is of now, as it would be.
	feeding := make(chan error, 1)
	go func() {
		var err error
		t.fed, err = c.feed(ctx)
		feeding <- err
	}()
	err := c.ask(ctx, t)
	cancel()
	return errors.Join(err, <-feeding)
}

func (c *client) ask(ctx context.Context, t *table) (err error) {
	yard.Say("asking for messages for %v", c.wants.ask)
	if t.messages, err = c.askMessages(ctx); err != nil {
		return err
	}
	t.note("GetMessageInsights: %v", t.messages)
	yard.Say("asking for metrics")
	for i, set := range c.querySets() {
		took, days, err := c.askMetrics(ctx, set.queries)
		if err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
		t.metrics = append(t.metrics, metrics{set.name, took, days})
		t.note("BatchGetMetricData, %s: %d days, %v", t.metrics[i].name, days, took)
	}
	return nil
}

// askMessages asks for a message of every account once a second, which is the rate
// that the operation allows, spread over the second.
func (c *client) askMessages(ctx context.Context) (took []time.Duration, err error) {
	r := rand.New(rand.NewPCG(c.store.Seed, 2))
	var mu sync.Mutex // guards took and err
	var all sync.WaitGroup
	// A little slower than allowed, so that none comes too soon.
	tick := time.NewTicker(1050 * time.Millisecond / time.Duration(len(c.keys)))
	defer tick.Stop()
	for end, i := time.Now().Add(c.wants.ask), 0; time.Now().Before(end); i++ {
		of := i % len(c.keys)
		if len(c.store.Messages[of]) == 0 {
			continue
		}
		id := c.store.Messages[of][r.IntN(len(c.store.Messages[of]))]
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		all.Go(func() {
			answer, d, failed := c.call(ctx, c.keys[of], http.MethodGet, "/v2/email/insights/"+id, nil)
			var m struct {
				MessageID string `json:"MessageId"`
				Insights  []struct{ Events []struct{ Type string } }
			}
			if failed == nil {
				failed = json.Unmarshal(answer, &m)
			}
			if failed == nil && (m.MessageID != id || len(m.Insights) != 1 || len(m.Insights[0].Events) < 2) {
				failed = fmt.Errorf("asked for %s, got %s", id, answer)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
			if err == nil {
				err = failed
			}
		})
	}
	all.Wait()
	return took, err
}

// querySet is what one call of BatchGetMetricData asks.
type querySet struct {
	name    string
	queries []map[string]any
}

var metricNames = []string{"SEND", "DELIVERY", "COMPLAINT", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE", "OPEN", "CLICK", "DELIVERY_OPEN", "DELIVERY_CLICK", "DELIVERY_COMPLAINT"}

// querySets gives ten queries over the last 60 days each.
func (c *client) querySets() []querySet {
	set := func(name string, dimensions ...map[string]string) querySet {
		s := querySet{name: name}
		for i, metric := range metricNames {
			q := map[string]any{
				"Id": fmt.Sprint("q", i), "Namespace": "VDM", "Metric": metric,
				"StartDate": c.store.To.AddDate(0, 0, -60).Unix(), "EndDate": c.store.To.Unix(),
			}
			if len(dimensions) > 0 {
				q["Dimensions"] = dimensions[i%len(dimensions)]
			}
			s.queries = append(s.queries, q)
		}
		return s
	}
	return []querySet{
		set("all ten metrics"),
		set("all ten, by dimensions", map[string]string{"ISP": "Gmail"}, map[string]string{"EMAIL_IDENTITY": "news.harbour-shop.example"},
			map[string]string{"CONFIGURATION_SET": "marketing"}, map[string]string{"ISP": "Yahoo", "CONFIGURATION_SET": "transactional"}),
	}
}

// askMetrics makes calls one behind the other, and says how many days the answers
// have.
func (c *client) askMetrics(ctx context.Context, queries []map[string]any) (took []time.Duration, days int, err error) {
	body, err := json.Marshal(map[string]any{"Queries": queries})
	if err != nil {
		return nil, 0, err
	}
	for range c.wants.batches / 2 {
		answer, d, err := c.call(ctx, c.keys[0], http.MethodPost, "/v2/email/metrics/batch", body)
		if err != nil {
			return nil, 0, err
		}
		var a struct{ Results []struct{ Values []int64 } }
		if err := json.Unmarshal(answer, &a); err != nil {
			return nil, 0, err
		}
		if len(a.Results) != len(queries) {
			return nil, 0, fmt.Errorf("%d queries were answered of %d", len(a.Results), len(queries))
		}
		days = 0
		for _, r := range a.Results {
			days += len(r.Values)
		}
		took = append(took, d)
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	if days == 0 {
		return nil, 0, errors.New("no query has an answer with a day in it")
	}
	return took, days, nil
}

// feed brings in events of now through the Firehose door until ctx ends, half a
// second's at once, and says how many a second it were.
func (c *client) feed(ctx context.Context) (perSecond float64, err error) {
	if c.wants.ingest == 0 {
		return 0, nil
	}
	g, err := generate.New(generate.Options{
		Seed: c.store.Seed + uint64(time.Now().UnixNano()), Records: 10_000_000, From: time.Now().Add(-24 * time.Hour), To: time.Now(), Account: yard.Account, Region: yard.Region,
	})
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	start, sent := time.Now(), 0
	var record, body []byte
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return float64(sent) / time.Since(start).Seconds(), nil
		case <-tick.C:
		}
		body = yard.FirehoseBody(body[:0], fmt.Sprintf("feed-%d", n), time.Now())
		for range c.wants.ingest / 2 {
			if record, err = g.Next(record[:0]); err != nil {
				return 0, err
			}
			body = yard.FirehoseRecord(body, append(record, '\n'))
		}
		if err := yard.PostFirehose(ctx, http.DefaultClient, c.url, append(body, "]}"...)); err != nil {
			if ctx.Err() != nil {
				continue
			}
			return 0, err
		}
		sent += c.wants.ingest / 2
	}
}
