package s3put

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// patience is the SDK's retryer for one Put: it tries again whatever may pass, as long
// as the last call that succeeded is not too long ago.
type patience struct {
	aws.RetryerV2
	longest time.Duration
	log     *slog.Logger
	mu      sync.Mutex
	since   time.Time
	gaveUp  time.Duration // after since
}

func newPatience(c Config, log *slog.Logger) *patience {
	return &patience{longest: c.Patience, log: log, since: time.Now(), RetryerV2: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxBackoff, o.RateLimiter = c.Pause, ratelimit.None
	})}
}

// use is an option of a call.
func (p *patience) use(o *s3.Options) { o.Retryer = p }

func (p *patience) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

// MaxAttempts is the Retryer's: 0 is any number.
func (*patience) MaxAttempts() int { return 0 }

// IsErrorRetryable is the Retryer's.
func (p *patience) IsErrorRetryable(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gaveUp = time.Since(p.since); final(err) || p.gaveUp >= p.longest {
		return false
	}
	p.log.Warn("a call to where an export is put failed and is tried again", "error", err)
	return true
}

// again are the codes of refusals that may pass though their status says that they do
// not.
var again = map[string]bool{
	"RequestTimeout": true, "RequestTimeTooSkewed": true, "SlowDown": true, "Throttling": true, "TooManyRequestsException": true, "OperationAborted": true,
	// What came is not what was sent. What was sent is checked before.
	"BadDigest": true, "IncompleteBody": true, "XAmzContentChecksumMismatch": true, "XAmzContentSHA256Mismatch": true,
}

// final says whether to try the same again is of no use.
func final(err error) bool {
	if errors.Is(err, context.Canceled) || errors.As(err, new(*tls.CertificateVerificationError)) {
		return true
	}
	status := status(err)
	return (status >= 300 && status < 500 || status == http.StatusNotImplemented) && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests && status != http.StatusConflict && !again[code(err)]
}

// status is that of the answer; 0 when there was none.
func status(err error) int {
	if answer := new(awshttp.ResponseError); errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

// why says for who made the job why a file was not put. It names no host.
func (p *put) why(err error) string {
	status, name := status(err), code(err)
	switch name {
	case "NoSuchBucket":
		return "the bucket does not exist. Have it made, or name another."
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return "the store does not let the server put it there (" + name + "). The server's credentials need s3:PutObject for it."
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity", "NotSignedUp":
		return "the store does not accept the server's credentials (" + name + "). Whoever runs the server must give it others."
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "IncorrectEndpoint":
		return "the bucket is not in the region " + p.config.Region + " (" + name + "). Whoever runs the server must say its region with --export-s3-region."
	case "NoSuchUpload":
		return fmt.Sprintf("the store lost the unfinished upload %d times (NoSuchUpload).", mostStarts)
	}
	if final(err) && status == 0 {
		return "the store's certificate is not one that the server trusts."
	}
	if final(err) {
		return fmt.Sprintf("the store refused it (%s, status %d).", orUnknown(name), status)
	}
	was := "the connection to it failed"
	var timeout net.Error
	switch {
	case status != 0:
		was = fmt.Sprintf("it answered %s, status %d", orUnknown(name), status)
	case errors.As(err, &timeout) && timeout.Timeout():
		was = fmt.Sprintf("nothing moved for %s", p.config.Stall)
	}
	return fmt.Sprintf("the store did not take it though it was tried for %s; at last %s. Try again when the store can be reached.", p.patience.gaveUp.Round(time.Second/10), was)
}

func orUnknown(code string) string {
	if code == "" {
		return "without a code"
	}
	return code
}

// transport gives up a connection on which no byte moves for a while.
func transport(base *http.Transport, stall time.Duration) *http.Transport {
	t := base.Clone()
	dialer := &net.Dialer{Timeout: stall, KeepAlive: 30 * time.Second}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // what is given up does not go on from the kernel's buffers
		}
		return &moving{Conn: c, stall: stall}, nil
	}
	t.TLSHandshakeTimeout = stall
	t.MaxIdleConnsPerHost = partsAtOnce
	t.WriteBufferSize = 64 << 10
	t.ForceAttemptHTTP2 = false // one connection is one part's, so what moves is that part
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return t
}

// moving is a connection whose deadline moves with each byte.
type moving struct {
	net.Conn
	stall   time.Duration
	stalled atomic.Bool
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if n > 0 {
		m.SetDeadline(time.Now().Add(m.stall)) // fails with the connection
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		m.stalled.Store(true)
	}
	return n, err
}

// Write writes a large p in pieces, so that a slow connection is not taken for a dead
// one.
func (m *moving) Write(p []byte) (n int, err error) {
	for err == nil && n < len(p) {
		m.SetDeadline(time.Now().Add(m.stall))
		var wrote int
		wrote, err = m.Conn.Write(p[n:min(len(p), n+64<<10)])
		n += wrote
	}
	if errors.Is(err, net.ErrClosed) && m.stalled.Load() {
		err = os.ErrDeadlineExceeded // who reads closes the connection, and that is why
	}
	return n, err
}
