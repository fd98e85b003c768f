// Package insights owns the two questions that are asked of email events: what
// happened to a message, and how many of what happened on which day; and whether an
// account may ask them, which is its Virtual Deliverability Manager (VDM) setting.
//
// It promises answers by SES's own definitions, but for what COMPATIBILITY.md lists, from everything that the store of
// events has acknowledged.
//
// It may import events, and eventdb for its questions; it knows neither HTTP nor SQL.
package insights

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// Events is what a store of events must do; eventdb.Store's methods are the contract.
type Events interface {
	Message(ctx context.Context, src events.Source, messageID string) ([]events.Event, error)
	Daily(ctx context.Context, src events.Source, q eventdb.Query) ([]eventdb.Day, error)
}

// Settings keeps what accounts set. The attributes are text that only this package
// reads; "" stands for never set. They are durable when PutVDM returns nil.
type Settings interface {
	VDM(ctx context.Context, account, region string) (attributes string, err error)
	PutVDM(ctx context.Context, account, region, attributes string) error
}

// Service answers. All its fields but LikeSES must be set. Its methods may be called
// at once.
type Service struct {
	Events   Events
	Settings Settings
	Now      func() time.Time
	// LikeSES leaves out mail with several recipients and to the mailbox simulator,
	// and what is older than SES keeps it: 30 days for messages, 60 for metrics.
	LikeSES bool

	once     sync.Once
	cores    chan struct{} // one for each count that may run at once
	counting chan struct{} // one for each call that counts or waits for a core
}

// mostCounting is how many calls may count or wait for it. More are refused, so that
// whoever counts much takes no place from those who ask for something else.
const mostCounting = 32

// count does the counts of one call, as many at once as there are cores. ErrBusy.
func (s *Service) count(counts int, do func(i int) error) error {
	s.once.Do(func() {
		s.cores, s.counting = make(chan struct{}, runtime.GOMAXPROCS(0)), make(chan struct{}, mostCounting)
	})
	select {
	case s.counting <- struct{}{}:
		defer func() { <-s.counting }()
	default:
		return ErrBusy
	}
	failures := make([]error, counts)
	var all sync.WaitGroup
	for i := range counts {
		all.Go(func() {
			s.cores <- struct{}{}
			defer func() { <-s.cores }()
			failures[i] = do(i)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

var (
	// ErrNotFound is given for a message of which there is no event.
	ErrNotFound = errors.New("no such message")
	// ErrBusy is given when as many calls count events as may.
	ErrBusy = errors.New("as many counts of events are under way as may be")
	// ErrVDMDisabled is given when the account has switched off VDM.
	ErrVDMDisabled = errors.New("the account has switched off Virtual Deliverability Manager")
)

// How far back SES answers.
// https://docs.aws.amazon.com/ses/latest/dg/vdm-dashboard.html
const (
	day         = 24 * time.Hour
	messageDays = 30
	metricDays  = 60
)

// VDM is what an account has set of its Virtual Deliverability Manager in a region.
// Enabled alone has an effect.
type VDM struct {
	Enabled                 bool
	EngagementMetrics       *bool `json:",omitempty"` // nil: not said
	OptimizedSharedDelivery *bool `json:",omitempty"` // nil: not said
}

// VDM gives an account's attributes. One that never set them has VDM with
// engagement metrics.
func (s *Service) VDM(ctx context.Context, src events.Source) (VDM, error) {
	text, err := s.Settings.VDM(ctx, src.Account, src.Region)
	if err != nil {
		return VDM{}, fmt.Errorf("read the VDM attributes of an account: %w", err)
	}
	if text == "" {
		yes, no := true, false
		return VDM{Enabled: true, EngagementMetrics: &yes, OptimizedSharedDelivery: &no}, nil
	}
	var v VDM
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return VDM{}, fmt.Errorf("read the VDM attributes of an account: %w", err)
	}
	return v, nil
}

// PutVDM sets an account's attributes, all of them: what v does not say is not said
// from then on. They are durable when it returns nil.
func (s *Service) PutVDM(ctx context.Context, src events.Source, v VDM) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = s.Settings.PutVDM(ctx, src.Account, src.Region, string(text))
	}
	if err != nil {
		return fmt.Errorf("keep the VDM attributes of an account: %w", err)
	}
	return nil
}

// MustBeEnabled gives ErrVDMDisabled when the account has switched off VDM.
func (s *Service) MustBeEnabled(ctx context.Context, src events.Source) error {
	v, err := s.VDM(ctx, src)
	if err == nil && !v.Enabled {
		err = ErrVDMDisabled
	}
	return err
}

// SentLastDay is how many recipients mail was sent to within the last 24 hours. ErrBusy.
func (s *Service) SentLastDay(ctx context.Context, src events.Source) (int64, error) {
	now := s.Now()
	var days []eventdb.Day
	err := s.count(1, func(int) (err error) {
		days, err = s.Events.Daily(ctx, src, eventdb.Query{Metric: eventdb.Sends, From: now.Add(-day), To: now})
		return err
	})
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, d := range days {
		total += d.Count
	}
	return total, nil
}
