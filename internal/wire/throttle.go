package wire

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttle limits each account to a rate of each operation: the operation's own,
// or else the Throttle's. Its memory is bounded by accounts times operations.
type Throttle struct {
	perSecond float64
	burst     int

	mu       sync.Mutex
	limiters map[[2]string]*rate.Limiter
}

// NewThrottle allows perSecond requests a second of one operation to one
// account, and burst at once. A perSecond of 0 sets no limit. An operation with a
// limit of its own has that one.
func NewThrottle(perSecond float64, burst int) *Throttle {
	return &Throttle{perSecond: perSecond, burst: burst, limiters: map[[2]string]*rate.Limiter{}}
}

// allow says whether an account may call an operation now.
func (t *Throttle) allow(account string, op *Operation, now time.Time) bool {
	perSecond, burst := t.perSecond, t.burst
	if op.perSecond > 0 {
		perSecond, burst = float64(op.perSecond), op.perSecond
	}
	if perSecond == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]string{account, op.Name}
	l := t.limiters[key]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(perSecond), burst)
		t.limiters[key] = l
	}
	return l.AllowN(now, 1)
}
