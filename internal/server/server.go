// Package server is the one place where the parts of Sesame are built and
// connected, started, and stopped in reverse order.
package server

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/config"
	"sesame/internal/importer"
	"sesame/internal/jobs"
	"sesame/internal/keyfile"
	"sesame/internal/listfile"
	"sesame/internal/lists"
	"sesame/internal/mailmanager"
	"sesame/internal/metadb"
	"sesame/internal/objects"
	"sesame/internal/obs"
	"sesame/internal/sigv4"
	"sesame/internal/wire"
)

// Server is a running Sesame.
type Server struct {
	// URL is where clients on this machine reach it.
	URL string
	// NewRoot is the root access key that this start made, to be shown once; its ID
	// is "" when there was one.
	NewRoot config.Root

	log       *slog.Logger
	http      *http.Server
	served    chan error
	runner    *jobs.Runner // of imports
	exporting *jobs.Runner
	stopping  atomic.Bool
	cancel    context.CancelFunc // ends the housekeeping
	tidying   sync.WaitGroup
	closers   []io.Closer // in the order they were opened
}

// What a request may take and how long.
const (
	maxBody        = 512 << 10 // bytes of an API request
	maxReading     = 1024      // API requests whose body is being received
	maxInFlight    = 256       // API requests being answered
	maxUploads     = 64
	maxDownloads   = 32
	readTimeout    = 10 * time.Second // of an API request
	idleUpload     = 60 * time.Second // silence within an upload, or of who downloads
	maxDecompress  = 20               // an import file may be this many times MaxUpload when decompressed
	housekeepEvery = time.Minute
)

// checkBelongs refuses a new database beside the members of an older one's lists:
// it knows none of them, so they would be removed as left over.
func checkBelongs(database, membersDir string) error {
	info, err := os.Stat(database)
	if err == nil && info.Size() > 0 {
		return nil
	}
	files, err := os.ReadDir(membersDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the members of lists: %w", err)
	}
	if len(files) > 0 {
		return fmt.Errorf("%s is missing or empty, and %s holds the members of its lists: put the database there that belongs to them, or remove that folder", database, membersDir)
	}
	return nil
}

// Start opens the data folder and serves. c must have passed Check. What Start
// opened before it failed it has closed again.
func Start(ctx context.Context, c config.Server, log *slog.Logger) (s *Server, err error) {
	s = &Server{log: log, served: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()

	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return s, fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := lockFolder(c.DataDir)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, lock)
	key, err := keyfile.Open(KeyPath(c.DataDir))
	if err != nil {
		return s, err
	}
	membersDir := filepath.Join(c.DataDir, "members")
	if err := checkBelongs(DatabasePath(c.DataDir), membersDir); err != nil {
		return s, err
	}
	db, err := metadb.Open(ctx, DatabasePath(c.DataDir))
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, db)
	if err := db.ReleaseLeases(ctx); err != nil {
		return s, fmt.Errorf("take over the jobs of an earlier start: %w", err)
	}
	uploads, err := blobs.OpenFolder(filepath.Join(c.DataDir, "objects"))
	if err != nil {
		return s, err
	}
	spill := filepath.Join(c.DataDir, "spill")
	if err := errors.Join(os.RemoveAll(spill), os.MkdirAll(spill, 0o700)); err != nil {
		return s, fmt.Errorf("clear the spill folder: %w", err)
	}
	auditPath := c.AuditLog
	if auditPath == "" {
		auditPath = filepath.Join(c.DataDir, "audit.log")
	}
	audit, auditFile, err := obs.OpenAudit(auditPath)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, auditFile)

	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return s, fmt.Errorf("cannot listen on %s: %w: stop what uses the address, or choose another with --listen", c.Listen, err)
	}
	s.closers = append(s.closers, listener)
	s.URL = config.ClientURL(listener.Addr().String(), c.TLSCert != "")
	publicURL := c.PublicURL
	if publicURL == "" {
		publicURL = s.URL
		if host, _, _ := net.SplitHostPort(c.Listen); host == "" || net.ParseIP(host).IsUnspecified() {
			log.Warn("pre-signed URLs start with " + publicURL + ", which only this machine can reach: give --public-url")
		}
	}
	public, err := url.Parse(publicURL)
	if err != nil {
		return s, fmt.Errorf("--public-url: %w", err)
	}

	var tlsConfig *tls.Config
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return s, fmt.Errorf("read --tls-cert and --tls-key: %w", err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	// A new root key is shown by who started the server, so it is made when
	// nothing can fail any more.
	callers := &callers{keys: metadb.AccessKeys{DB: db, File: key}, account: c.AccountID}
	if s.NewRoot, err = callers.findRoot(ctx); err != nil {
		return s, err
	}

	limits := c.Limits()
	metrics := obs.NewMetrics()
	s.runner = &jobs.Runner{Workers: c.ImportWorkers, Poll: time.Second, Log: log}
	imports := &importer.Service{
		Store: db, Objects: uploads, Now: time.Now, NewID: newID, Wake: s.runner.Wake, Log: log, Counted: metrics.Lines,
		Config: importer.Config{
			Running: limits.RunningImports, MaxBytes: maxDecompress * c.MaxUpload, Memory: c.ImportMemory, SpillDir: spill,
			Keep: time.Duration(c.ImportKeep) * 24 * time.Hour,
		},
	}
	s.runner.Claim = imports.Claim
	addressLists := &lists.Service{
		Store: db, Dir: membersDir, Now: time.Now, NewID: newID, Discard: imports.Discard, Log: log,
		Limits: lists.Limits{Lists: limits.Lists, Members: limits.Members, Tags: limits.Tags},
	}
	imports.Lists = addressLists
	if err := addressLists.Clean(ctx); err != nil {
		return s, fmt.Errorf("clear what an earlier start left: %w", err)
	}
	email, err := openEvents(ctx, c, db, uploads, key, callers, metrics, log)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, email.store)
	if destination, ok := email.exports.Destination.(io.Closer); ok {
		s.closers = append(s.closers, destination)
	}
	door := &objects.Door{
		PublicURL: public, Region: c.Region, Uploads: imports, Refused: imports.Refused, MaxUpload: c.MaxUpload, Idle: idleUpload,
		Credentials: sigv4.Credentials{AccessKeyID: "SESAME-OBJECTS", SecretAccessKey: hex.EncodeToString(key.Derive("object URLs", 32))},
		Slots:       make(chan struct{}, maxUploads), Downloads: make(chan struct{}, maxDownloads),
		Now: time.Now, NewID: newRequestID, Log: log, Audit: audit, Received: metrics.Uploaded,
	}
	door.Exported = exported(email.exports, uploads)
	email.api.ExportURL = door.ExportURL
	door.Members = func(ctx context.Context, account, list string, do func(address []byte) error) (found bool, err error) {
		err = addressLists.Each(ctx, lists.Owner{Account: account, Region: c.Region}, list, func(r listfile.Row) error {
			if r.Shown != nil {
				return do(r.Shown)
			}
			return do(r.Key)
		})
		return !errors.Is(err, lists.ErrNotFound), err
	}
	api := &mailmanager.API{
		Region: c.Region, Lists: addressLists, Imports: imports, Now: time.Now, UploadURL: door.UploadURL, RefusedURL: door.RefusedURL,
		MembersURL: door.MembersURL,
		Pages:      wire.Pages{Seal: key.Seal, Unseal: key.Unseal},
	}
	mailManager := api.Service()
	sesameOperations := slices.Concat(api.SesameOperations(), email.api.SesameOperations(), email.doors.Operations())
	edge := &wire.Edge{
		Services: []*wire.Service{mailManager, email.api.Service()},
		Sesame:   &wire.Service{Namespace: "sesame", IAMPrefix: "sesame", Errors: mailManager.Errors, Operations: sesameOperations, Strict: true},
		Verifier: sigv4.Verifier{Scope: sigv4.Scope{Region: c.Region, Service: "ses"}, MaxBody: maxBody, Skew: 15 * time.Minute, Now: time.Now},
		Key:      callers.find, Throttle: wire.NewThrottle(limits.Rate, limits.Burst), MaxReading: maxReading, MaxInFlight: maxInFlight,
		Now: time.Now, NewID: newRequestID, Log: log, Audit: audit, Observe: metrics.Request,
	}

	pages := map[string]http.HandlerFunc{
		"/metrics": metrics.Handler().ServeHTTP,
		"/healthz": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") },
		"/readyz":  func(w http.ResponseWriter, r *http.Request) { s.ready(w, r, db, email.store) },
		"/": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "This is Sesame, Amazon SES's bulk side, self-hosted.\nPoint an AWS SDK or the AWS CLI at this address as its endpoint URL.\n")
		},
	}
	operations := edge.Handler()
	// No http.ServeMux: it redirects paths with dot or empty segments, signature
	// and all, in a form that no SDK understands.
	handler := func(w http.ResponseWriter, r *http.Request) {
		page := pages[r.URL.Path]
		switch {
		case strings.HasPrefix(r.URL.Path, "/objects/"):
			door.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/ingest/"):
			email.doors.ServeHTTP(w, r)
		case page != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			page(w, r)
		default:
			operations.ServeHTTP(w, r)
		}
	}
	s.http = &http.Server{
		Handler: http.HandlerFunc(handler), DisableGeneralOptionsHandler: true, // OPTIONS * is no operation either
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTimeout, WriteTimeout: 6 * readTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, TLSConfig: tlsConfig,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.runner.Start()
	s.exporting = email.exporting
	s.exporting.Start()
	housekeeping, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.tidying.Go(func() { s.housekeep(housekeeping, db, addressLists, imports) })
	s.tidying.Go(func() { email.housekeep(housekeeping) })
	s.tidying.Go(func() { email.schedule(housekeeping) })
	go func() {
		if tlsConfig != nil {
			s.served <- s.http.ServeTLS(listener, "", "")
		} else {
			s.served <- s.http.Serve(listener)
		}
	}()
	return s, nil
}

// KeyPath is where a data folder has its key file.
func KeyPath(dataDir string) string { return filepath.Join(dataDir, "secret.key") }

// DatabasePath is where a data folder has its database.
func DatabasePath(dataDir string) string { return filepath.Join(dataDir, "sesame.db") }

// Served gives the error by which serving ended before it was stopped.
func (s *Server) Served() <-chan error { return s.served }

// Stop takes no more requests, lets those in hand finish until ctx ends, gives
// running jobs back, and closes the data folder.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.log.Warn("some requests did not finish in time", "error", err)
		err = s.http.Close()
	}
	return errors.Join(err, s.close())
}

func (s *Server) close() error {
	if s.cancel != nil {
		s.cancel()
		s.tidying.Wait()
		s.runner.Stop()
		s.exporting.Stop()
	}
	var all error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// housekeep keeps lists quick to read, and frees what deleted lists, lost uploads
// and old reports take.
func (s *Server) housekeep(ctx context.Context, db *metadb.DB, l *lists.Service, i *importer.Service) {
	for {
		if err := errors.Join(l.Fold(ctx), l.Purge(ctx), i.Retire(ctx), i.Sweep(ctx), db.Tidy(ctx)); err != nil && ctx.Err() == nil {
			s.log.Error("housekeeping", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(housekeepEvery):
		}
	}
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request, stores ...interface{ Ping(context.Context) error }) {
	if s.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	for _, store := range stores {
		if err := store.Ping(r.Context()); err != nil {
			s.log.Error("not ready", "error", err)
			http.Error(w, "a store does not answer", http.StatusServiceUnavailable)
			return
		}
	}
	io.WriteString(w, "ok\n")
}
