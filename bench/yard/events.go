package yard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/cespare/xxhash/v2"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/generate"
	"sesame/internal/iam"
	"sesame/internal/keyfile"
	"sesame/internal/metadb"
	"sesame/internal/server"
)

// EventStore is what is known of a store of events. It is kept in the data folder.
type EventStore struct {
	Events   int
	Seed     uint64
	From, To time.Time
	Accounts []string
	Messages [][]string // of each account, ids of some, at random
	Seconds  float64    // that building it took
}

const (
	storeFile     = "bench-events.json"
	samples       = 2000 // messages of an account
	appendAtOnce  = 50_000
	buildMemory   = 1 << 30
	firstHasShare = 0.75 // of all mail
)

// OpenEvents makes a store of a year's events in the folder data, or finds the one
// that is there. Three quarters of the mail are the first account's.
func OpenEvents(ctx context.Context, data string, events, accounts int, seed uint64) (s EventStore, err error) {
	text, err := os.ReadFile(filepath.Join(data, storeFile))
	if err == nil {
		if err := json.Unmarshal(text, &s); err != nil {
			return s, err
		}
		if s.Events < events || len(s.Accounts) != accounts {
			return s, fmt.Errorf("%s has %d events of %d accounts, not %d of %d: remove it, or ask for as many", data, s.Events, len(s.Accounts), events, accounts)
		}
		// The database of an earlier run, with its keys and jobs, goes.
		old, err := filepath.Glob(server.DatabasePath(data) + "*")
		if err != nil {
			return s, err
		}
		for _, path := range append(old, filepath.Join(data, "objects")) {
			if err := os.RemoveAll(path); err != nil {
				return s, err
			}
		}
		Say("using the store in %s, of %v", data, s.To)
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if left, err := os.ReadDir(data); err == nil && len(left) > 0 {
		return s, fmt.Errorf("%s has something else in it", data)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return s, err
	}
	if s, err = buildEvents(ctx, data, events, accounts, seed); err != nil {
		return s, err
	}
	if text, err = json.Marshal(s); err != nil {
		return s, err
	}
	return s, os.WriteFile(filepath.Join(data, storeFile), text, 0o600)
}

// buildEvents fills a new store. One goroutine makes events and decodes them while the
// store writes those before.
func buildEvents(ctx context.Context, data string, count, accounts int, seed uint64) (s EventStore, err error) {
	s = EventStore{Seed: seed, To: time.Now().UTC().Truncate(24 * time.Hour)}
	s.From = s.To.AddDate(-1, 0, 0)
	for i := range accounts {
		s.Accounts = append(s.Accounts, fmt.Sprintf("%012d", i)) // the first is the root key's
	}
	s.Messages = make([][]string, accounts)
	g, err := generate.New(generate.Options{Seed: seed, Records: int64(count), From: s.From, To: s.To, Account: Account, Region: Region})
	if err != nil {
		return s, err
	}
	db, err := eventdb.Open(ctx, server.EventsPath(data), buildMemory)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches, made := make(chan []events.Event, 1), make(chan error, 1)
	go func() {
		defer close(batches)
		made <- s.make(ctx, g, batches)
	}()
	start, last := time.Now(), time.Now()
	for batch := range batches {
		added, err := db.Append(ctx, batch)
		if err != nil {
			return s, err
		}
		s.Events += added
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			Say("%d events are stored, %.0f a second", s.Events, float64(s.Events)/time.Since(start).Seconds())
		}
	}
	s.Seconds = time.Since(start).Seconds()
	return s, <-made
}

// make makes events and gives them to batches.
func (s *EventStore) make(ctx context.Context, g *generate.Generator, batches chan<- []events.Event) error {
	r := mathrand.New(mathrand.NewPCG(s.Seed, 1))
	src := events.Source{Account: Account, Region: Region}
	seen := make([]int, len(s.Accounts))
	var record []byte
	var batch []events.Event
	for {
		var err error
		record, err = g.Next(record[:0])
		if err != nil && err != io.EOF {
			return err
		}
		if len(batch) >= appendAtOnce || err == io.EOF {
			select {
			case batches <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
			batch = make([]events.Event, 0, appendAtOnce+16)
		}
		if err == io.EOF {
			return nil
		}
		found, err := events.Decode(src, record)
		if err != nil {
			return err
		}
		of := s.accountOf(found[0].MessageID)
		for i := range found {
			found[i].Account = s.Accounts[of]
		}
		batch = append(batch, found...)
		if e := &found[0]; e.Type == events.Delivery && !e.Multi && !e.Simulator {
			// Each has the same chance to be one of the samples.
			if seen[of]++; len(s.Messages[of]) < samples {
				s.Messages[of] = append(s.Messages[of], e.MessageID)
			} else if i := r.IntN(seen[of]); i < samples {
				s.Messages[of][i] = e.MessageID
			}
		}
	}
}

// accountOf says whose message it is.
func (s *EventStore) accountOf(id string) int {
	n := xxhash.Sum64String(id) >> 11
	if share := float64(n) / (1 << 53); share >= firstHasShare && len(s.Accounts) > 1 {
		return 1 + int(n%uint64(len(s.Accounts)-1))
	}
	return 0
}

// MakeKeys makes a key for each account, in a new database beside the events.
func MakeKeys(ctx context.Context, data string, accounts []string) (keys []aws.Credentials, err error) {
	file, err := keyfile.Open(server.KeyPath(data))
	if err != nil {
		return nil, err
	}
	db, err := metadb.Open(ctx, server.DatabasePath(data))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, account := range accounts {
		k, err := iam.NewKey(rand.Reader, account, "bench", iam.AdministratorPolicy, time.Now())
		if err != nil {
			return nil, err
		}
		if err := (metadb.AccessKeys{DB: db, File: file}).Add(ctx, k); err != nil {
			return nil, err
		}
		keys = append(keys, aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret})
	}
	return keys, nil
}
