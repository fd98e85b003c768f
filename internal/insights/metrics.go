package insights

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// Dimensions are what a count can be narrowed to, as SES v2 spells them.
const (
	EmailIdentity    = string(eventdb.ByIdentity) // an address, or a domain for all mail from it
	ConfigurationSet = string(eventdb.ByConfigurationSet)
	ISP              = string(eventdb.ByISP)
	TenantName       = "TENANT_NAME"
)

// IsDimension says whether there is a dimension of that name.
func IsDimension(name string) bool {
	return slices.Contains([]string{EmailIdentity, ConfigurationSet, ISP, TenantName}, name)
}

// Query asks for the daily count of a metric.
type Query struct {
	Metric     string            // one of eventdb's, as SES v2 spells it
	Dimensions map[string]string // what to count only; none for everything
	Start, End time.Time         // from Start on and before End
}

// Invalid is why queries are refused, in SES's words.
type Invalid string

// Error gives the reason.
func (i Invalid) Error() string { return string(i) }

// Metrics counts by UTC day, one list for each query; days without a count are left
// out. ErrVDMDisabled; ErrBusy; Invalid when a dimension or a date cannot be, looked for in
// this order.
func (s *Service) Metrics(ctx context.Context, src events.Source, queries []Query) ([][]eventdb.Day, error) {
	if err := s.MustBeEnabled(ctx, src); err != nil {
		return nil, err
	}
	// A bad value in any query goes before a bad date in any other.
	for _, q := range queries {
		if err := q.checkDimensions(); err != nil {
			return nil, err
		}
	}
	for _, q := range queries {
		if !q.Start.Before(q.End) {
			return nil, Invalid("Expected start date to be before the end date.")
		}
		if s.LikeSES && q.End.Sub(q.Start) > metricDays*day {
			return nil, Invalid("Invalid interval, can request at most 60 days. Please partition your requested interval.")
		}
	}
	answers := make([][]eventdb.Day, len(queries))
	err := s.count(len(queries), func(i int) (err error) {
		answers[i], err = s.daily(ctx, src, queries[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Service) daily(ctx context.Context, src events.Source, q Query) ([]eventdb.Day, error) {
	if q.Dimensions[TenantName] != "" {
		return nil, nil // SES's events do not say of which tenant they are
	}
	from := q.Start
	if s.LikeSES {
		if oldest := s.Now().UTC().Truncate(day).AddDate(0, 0, -metricDays); from.Before(oldest) {
			from = oldest
		}
	}
	if !from.Before(q.End) {
		return nil, nil
	}
	return s.Events.Daily(ctx, src, eventdb.Query{
		Metric: eventdb.Metric(q.Metric), From: from, To: q.End,
		Identity: q.Dimensions[EmailIdentity], ConfigurationSet: q.Dimensions[ConfigurationSet], ISP: q.Dimensions[ISP],
		OneRecipient: s.LikeSES,
	})
}

// checkDimensions refuses values that cannot be. Which of two is told is chosen.
func (q Query) checkDimensions() error {
	for _, name := range []string{EmailIdentity, ISP, ConfigurationSet, TenantName} {
		if value, ok := q.Dimensions[name]; ok {
			if err := CheckDimension(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckDimension refuses a value that a dimension cannot have. Invalid.
func CheckDimension(name, value string) error {
	const allowed = ">: only alphanumeric ASCII characters, '_', and '-' are allowed."
	switch {
	case name == EmailIdentity && !isIdentity(value):
		return Invalid("Invalid email identity provided.")
	case name == EmailIdentity || isName(value):
		return nil
	case name == ISP:
		return Invalid("Invalid ISP name provided.")
	case name == ConfigurationSet && value == "":
		return Invalid("The configuration set name must be specified.")
	case name == ConfigurationSet:
		return Invalid("Invalid configuration set name <" + cut(value) + allowed)
	case value == "":
		return Invalid("TenantName cannot be empty")
	}
	return Invalid("Invalid tenant name <" + cut(value) + allowed)
}

// isIdentity takes a bare name, such as a domain, and local@domain.
func isIdentity(s string) bool {
	if strings.ContainsFunc(s, func(c rune) bool { return c == '*' || unicode.IsSpace(c) || unicode.IsControl(c) }) {
		return false
	}
	local, domain, isAddress := strings.Cut(s, "@")
	return local != "" && (!isAddress || domain != "" && !strings.Contains(domain, "@"))
}

// isName takes the letters that configuration sets, ISPs and tenants may have.
func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '_' && c != '-'
	})
}

// cut bounds what is repeated of a caller's text.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 256)], "") }
