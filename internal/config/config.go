// Package config is what an operator can decide about a server: one struct, its
// defaults, its file, and the checks that it makes sense.
//
// It imports nothing of Sesame.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Server is the configuration of `sesame serve`. Each member is a flag, a
// SESAME_ environment variable, and a member of the configuration file, in that
// order of precedence.
type Server struct {
	Listen        string   `default:"127.0.0.1:9025" env:"SESAME_LISTEN" help:"Address to listen on (${default})."`
	PublicURL     string   `name:"public-url" env:"SESAME_PUBLIC_URL" placeholder:"URL" help:"What pre-signed URLs start with, as clients reach this server. Default: from --listen."`
	DataDir       string   `default:"sesame-data" env:"SESAME_DATA_DIR" placeholder:"DIR" help:"Folder that holds everything (${default})."`
	Region        string   `default:"us-east-1" env:"SESAME_REGION" help:"Region that clients sign for and ARNs name (${default})."`
	AccountID     string   `default:"000000000000" env:"SESAME_ACCOUNT_ID" placeholder:"DIGITS" help:"Account of the root access key, and of events that come by signed SNS notifications; 12 digits (${default})."`
	Quotas        string   `default:"sesame" enum:"sesame,aws" env:"SESAME_QUOTAS" help:"Limits: sesame's own, or the service's, as far as they are documented (aws); with aws, answers about mail also leave out what the service's do: mail with several recipients, to its simulator, and of more than 30 (metrics: 60) days ago."`
	APIRate       float64  `name:"api-rate" default:"-1" env:"SESAME_API_RATE" placeholder:"N" help:"Requests a second of one operation by one account; 0 is no limit. Default: 500, and 1 with --quotas aws. GetMessageInsights, BatchGetMetricData and PutAccountVdmAttributes keep their own; what comes in under /ingest/ has none."`
	MaxUpload     int64    `default:"5368709120" env:"SESAME_MAX_UPLOAD" placeholder:"BYTES" help:"Largest file that can be uploaded for an import (${default})."`
	ImportWorkers int      `default:"2" env:"SESAME_IMPORT_WORKERS" placeholder:"N" help:"Imports worked on at once (${default})."`
	ImportMemory  int      `default:"134217728" env:"SESAME_IMPORT_MEMORY" placeholder:"BYTES" help:"Memory that sorting one import may take (${default})."`
	ImportKeep    int      `default:"30" env:"SESAME_IMPORT_KEEP" placeholder:"DAYS" help:"Days for which uploads that were not imported, and lists of refused lines, are kept (${default})."`
	ExportWorkers int      `default:"2" env:"SESAME_EXPORT_WORKERS" placeholder:"N" help:"Exports worked on at once (${default})."`
	ExportKeep    int      `name:"export-retention" default:"30" env:"SESAME_EXPORT_RETENTION" placeholder:"DAYS" help:"Days for which the files of exports are kept (${default})."`
	ExportPlaces  []string `name:"export-destinations" env:"SESAME_EXPORT_DESTINATIONS" placeholder:"S3-URL" help:"Where exports may be put when a job gives an S3Url: s3://bucket or s3://bucket/prefix/, separated by commas. Default: nowhere, as with the service."`
	ExportS3URL   string   `name:"export-s3-endpoint" env:"SESAME_EXPORT_S3_ENDPOINT" placeholder:"URL" help:"Object store of these destinations, with buckets in its paths. Default: Amazon S3."`
	ExportRegion  string   `name:"export-s3-region" env:"SESAME_EXPORT_S3_REGION" placeholder:"REGION" help:"Region of these destinations. Default: --region."`
	Retention     int      `default:"400" env:"SESAME_RETENTION" placeholder:"DAYS" help:"Days after the sending of a message for which its events are kept (${default}); older ones are removed at the start and each hour."`
	EventMemory   int64    `default:"536870912" env:"SESAME_EVENT_MEMORY" placeholder:"BYTES" help:"Memory that the store of events may take for what it reads and sorts; it takes some more to write (${default})."`
	SNSTopics     []string `name:"sns-topics" env:"SESAME_SNS_TOPICS" placeholder:"ARN" help:"SNS topics whose notifications of email events are taken, separated by commas. Default: none."`
	ISPMX         string   `name:"isp-mx" env:"SESAME_ISP_MX" placeholder:"FILE" help:"Table of mailbox providers by their mail hosts, a line each: Gmail google.com. With it the server asks DNS for the mail hosts of recipients' domains that it does not know. Default: it never asks."`
	TLSCert       string   `name:"tls-cert" env:"SESAME_TLS_CERT" placeholder:"FILE" help:"Certificate chain, PEM. With --tls-key the server speaks HTTPS."`
	TLSKey        string   `name:"tls-key" env:"SESAME_TLS_KEY" placeholder:"FILE" help:"The certificate's private key, PEM."`
	LogLevel      string   `default:"info" enum:"debug,info,warn,error" env:"SESAME_LOG_LEVEL" help:"Least level that is logged: ${enum}."`
	LogFormat     string   `default:"text" enum:"text,json" env:"SESAME_LOG_FORMAT" help:"Form of the log on standard error: ${enum}."`
	AuditLog      string   `env:"SESAME_AUDIT_LOG" placeholder:"FILE" help:"Where the audit lines go. Default: audit.log in the data folder."`
}

// Root is the root access key, when the operator chooses it. Its secret must not
// be on a command line, so it comes from the environment only.
type Root struct{ AccessKeyID, SecretAccessKey string }

// RootFromEnvironment reads SESAME_ROOT_ACCESS_KEY_ID and
// SESAME_ROOT_SECRET_ACCESS_KEY. ok is false when neither is set.
func RootFromEnvironment() (root Root, ok bool, err error) {
	root = Root{os.Getenv("SESAME_ROOT_ACCESS_KEY_ID"), os.Getenv("SESAME_ROOT_SECRET_ACCESS_KEY")}
	switch {
	case root == Root{}:
		return root, false, nil
	case root.AccessKeyID == "" || root.SecretAccessKey == "":
		return root, false, errors.New("set both SESAME_ROOT_ACCESS_KEY_ID and SESAME_ROOT_SECRET_ACCESS_KEY, or neither")
	case !regexp.MustCompile(`^[A-Za-z0-9_]{4,128}$`).MatchString(root.AccessKeyID):
		return root, false, errors.New("SESAME_ROOT_ACCESS_KEY_ID must have 4 to 128 letters, digits and underscores")
	case len(root.SecretAccessKey) < 8:
		return root, false, errors.New("SESAME_ROOT_SECRET_ACCESS_KEY must have at least 8 characters")
	}
	return root, true, nil
}

// ExportS3Key is the access key with which exports are put at their destinations. Its
// secret must not be on a command line, so it comes from the environment only.
type ExportS3Key struct{ AccessKeyID, SecretAccessKey string }

// ExportS3KeyFromEnvironment reads SESAME_EXPORT_S3_ACCESS_KEY_ID and
// SESAME_EXPORT_S3_SECRET_ACCESS_KEY. The key is empty when neither is set.
func ExportS3KeyFromEnvironment() (ExportS3Key, error) {
	key := ExportS3Key{os.Getenv("SESAME_EXPORT_S3_ACCESS_KEY_ID"), os.Getenv("SESAME_EXPORT_S3_SECRET_ACCESS_KEY")}
	if (key.AccessKeyID == "") != (key.SecretAccessKey == "") {
		return key, errors.New("set both SESAME_EXPORT_S3_ACCESS_KEY_ID and SESAME_EXPORT_S3_SECRET_ACCESS_KEY, or neither")
	}
	return key, nil
}

// Read reads a configuration file: one JSON object whose members are named as the
// flags are. known are the names it may use, sorted.
func Read(r io.Reader, known []string) (map[string]any, error) {
	d := json.NewDecoder(r)
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return nil, fmt.Errorf("the configuration is not a JSON object such as {\"listen\": \"127.0.0.1:9025\"}: %w", err)
	}
	if values == nil {
		return nil, errors.New("the configuration is null and not a JSON object such as {\"listen\": \"127.0.0.1:9025\"}")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the configuration has something behind its JSON object")
	}
	for name := range values {
		if _, ok := slices.BinarySearch(known, name); !ok {
			return nil, fmt.Errorf("the configuration sets %q, which is none of: %s", name, strings.Join(known, ", "))
		}
	}
	return values, nil
}

// Check says what of c cannot be, in words that say what to do.
func (c *Server) Check() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if _, notPort := strconv.ParseUint(port, 10, 16); err != nil || notPort != nil {
		return fmt.Errorf("--listen %q is not an address such as 127.0.0.1:9025 or :9025", c.Listen)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("--public-url %s is not of the form https://host:port", c.PublicURL)
		}
	}
	if !regexp.MustCompile(`^[a-z0-9-]{1,20}$`).MatchString(c.Region) {
		return fmt.Errorf("--region %q is not 1 to 20 lower-case letters, digits and dashes", c.Region)
	}
	if err := CheckAccount(c.AccountID); err != nil {
		return fmt.Errorf("--account-id: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together: give both or neither")
	}
	if c.ImportWorkers < 1 || c.ImportWorkers > 64 {
		return errors.New("--import-workers must be 1 to 64")
	}
	if c.ImportMemory < 1<<20 {
		return errors.New("--import-memory must be at least 1048576 bytes")
	}
	if c.ImportKeep < 1 || c.ImportKeep > 36500 {
		return errors.New("--import-keep must be 1 to 36500 days")
	}
	if c.ExportWorkers < 1 || c.ExportWorkers > 64 {
		return errors.New("--export-workers must be 1 to 64")
	}
	if c.ExportKeep < 1 || c.ExportKeep > 36500 {
		return errors.New("--export-retention must be 1 to 36500 days")
	}
	if c.Retention < 1 || c.Retention > 36500 {
		return errors.New("--retention must be 1 to 36500 days")
	}
	if c.EventMemory < 256<<20 {
		return errors.New("--event-memory must be at least 268435456 bytes")
	}
	for _, topic := range c.SNSTopics {
		if !regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]{1,20}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`).MatchString(topic) {
			return fmt.Errorf("--sns-topics: %q is not of the form arn:aws:sns:us-east-1:123456789012:ses-events", topic)
		}
	}
	for _, place := range c.ExportPlaces {
		if !isExportPlace(place) {
			return fmt.Errorf("--export-destinations: %q is not of the form s3://bucket or s3://bucket/prefix/", place)
		}
	}
	if c.ExportS3URL != "" {
		u, err := url.Parse(c.ExportS3URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("--export-s3-endpoint %s is not of the form https://host:port", c.ExportS3URL)
		}
	}
	if !regexp.MustCompile(`^[a-z0-9-]{0,40}$`).MatchString(c.ExportRegion) {
		return fmt.Errorf("--export-s3-region %q is not up to 40 lower-case letters, digits and dashes", c.ExportRegion)
	}
	if len(c.ExportPlaces) == 0 && c.ExportS3URL+c.ExportRegion != "" {
		return errors.New("--export-s3-endpoint and --export-s3-region need --export-destinations, which says where exports may be put")
	}
	if c.MaxUpload < 1 || c.MaxUpload > 1<<50 {
		return errors.New("--max-upload must be 1 byte to 1 PiB")
	}
	if c.APIRate > 1e6 {
		return errors.New("--api-rate must be at most 1000000; 0 is no limit")
	}
	return nil
}

// isExportPlace says whether place is a bucket, named by S3's rules
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html), or a
// folder in one.
func isExportPlace(place string) bool {
	path, ok := strings.CutPrefix(place, "s3://")
	bucket, prefix, _ := strings.Cut(path, "/")
	if !ok || !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`).MatchString(bucket) || strings.Contains(bucket, "..") || net.ParseIP(bucket) != nil {
		return false
	}
	if prefix == "" {
		return true
	}
	segments := strings.Split(prefix, "/")
	last := len(segments) - 1
	return segments[last] == "" && len(prefix) <= 512 && utf8.ValidString(prefix) && !strings.ContainsFunc(prefix, unicode.IsControl) &&
		!slices.ContainsFunc(segments[:last], func(s string) bool { return s == "" || s == "." || s == ".." })
}

// CheckAccount says whether an account id has its form.
func CheckAccount(id string) error {
	if !regexp.MustCompile(`^[0-9]{12}$`).MatchString(id) {
		return fmt.Errorf("the account %q is not 12 digits", id)
	}
	return nil
}

// Limits are those that --quotas chooses.
type Limits struct {
	Lists          int
	Members        int64
	Tags           int
	RunningImports int
	RunningExports int     // of one source
	Rate           float64 // requests a second of one operation
	Burst          int
}

// Limits gives the limits that c chooses.
func (c *Server) Limits() Limits {
	l := Limits{Lists: 1000, Members: 100_000_000, Tags: 200, RunningImports: 1000, RunningExports: 1000, Rate: 500, Burst: 1000}
	if c.Quotas == "aws" {
		// The service's page gives one request a second for everything but sending,
		// and 20 concurrent import jobs; whether it means these is not known.
		l = Limits{Lists: 100, Members: 100_000, Tags: 200, RunningImports: 20, RunningExports: 20, Rate: 1, Burst: 1}
	}
	if c.APIRate >= 0 {
		l.Rate, l.Burst = c.APIRate, max(1, int(2*c.APIRate))
	}
	return l
}

// ClientURL gives the URL by which a client on this machine reaches a server
// that listens on addr.
func ClientURL(addr string, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return scheme + "://" + addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
