package wire

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttle limits each account to a rate of each operation. Its memory is
// bounded by accounts times operations.
type Throttle struct {
	perSecond float64
	burst     int

	mu       sync.Mutex
	limiters map[[2]string]*rate.Limiter
}

// NewThrottle allows perSecond requests a second of one operation to one
// account, and burst at once. A perSecond of 0 sets no limit.
func NewThrottle(perSecond float64, burst int) *Throttle {
	return &Throttle{perSecond: perSecond, burst: burst, limiters: map[[2]string]*rate.Limiter{}}
}

func (t *Throttle) allow(account, operation string, now time.Time) bool {
	if t.perSecond == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]string{account, operation}
	l := t.limiters[key]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(t.perSecond), t.burst)
		t.limiters[key] = l
	}
	return l.AllowN(now, 1)
}
