package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"sesame/internal/iam"
	"sesame/internal/sigv4"
)

// Edge answers API requests. Fill it in and use Handler.
type Edge struct {
	Services []*Service // found by X-Amz-Target, by RPC path, and by path
	Sesame   *Service   // Sesame's own operations, under /sesame/v1/

	// Verifier proves signatures; its Secret is set for each request by Edge.
	Verifier sigv4.Verifier
	// Key finds a usable access key and its policy; ok is false when there is none.
	Key func(ctx context.Context, id string) (key iam.Key, policy *iam.Policy, ok bool, err error)

	Throttle    *Throttle
	MaxReading  int // requests whose body is being received at once; more are told to come back
	MaxInFlight int // requests being answered at once; more are told to come back
	Now         func() time.Time
	NewID       func() string // request ids
	Log         *slog.Logger  // one line a request
	Audit       *slog.Logger  // one line a change, or refused change
	Observe     func(operation, code string, d time.Duration)
}

// question is what a request asks, told from its address and headers.
type question struct {
	service   *Service // nil when it is none's
	operation *Operation
	codec     codec
	labels    map[string]string // of a REST operation's path
	query     url.Values
}

type codecs struct{ json10, rpcCBOR, sesameJSON, rest codec }

// outcome is what the log, the audit and the metrics say of a request.
type outcome struct {
	operation string
	write     bool
	caller    Caller
	resource  string
	id        string // of the job acted on, or of what was made
	code      string // "OK" or the error's code
	cause     error  // what the operator should know and the client should not
}

// Handler is the edge as an http.Handler.
func (e *Edge) Handler() http.Handler {
	patterns := patternsOf(append(e.Services[:len(e.Services):len(e.Services)], e.Sesame))
	reading, slots := make(chan struct{}, e.MaxReading), make(chan struct{}, e.MaxInFlight)
	codecs := codecs{newJSON10(), newCBOR(), newSesameJSON(), newREST()}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := e.Now()
		o := outcome{operation: "-", code: "OK"}
		o.caller.RequestID = e.NewID()
		w.Header().Set("X-Amzn-RequestId", o.caller.RequestID)

		q := e.route(r, codecs)
		// Who sends slowly takes no place from those who are being answered.
		out := within(reading, &o, func() any { return e.prove(r, &o) })
		if body, proved := out.([]byte); proved {
			out = within(slots, &o, func() any { return e.answer(r.Context(), q, body, patterns, &o) })
		} else {
			w.Header().Set("Connection", "close") // or net/http would wait for a body that was not read
		}
		if refusal, refused := out.(*Error); refused {
			o.code = refusal.Code
			q.codec.refuse(w, q.service, refusal)
		} else {
			q.codec.output(w, out)
		}
		e.report(r, o, e.Now().Sub(start))
	})
}

// within does something if there is a place for it, and gives what it gives. A
// panic is an internal failure of this request alone.
func within(places chan struct{}, o *outcome, do func() any) (out any) {
	select {
	case places <- struct{}{}:
		defer func() {
			<-places
			if p := recover(); p != nil {
				o.cause = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				out = internalFailure(o)
			}
		}()
		return do()
	default:
		return Errorf("ServiceUnavailable", "The server has as many requests in hand as it can. Try again.")
	}
}

// route tells the protocols apart, and finds the operation.
func (e *Edge) route(r *http.Request, c codecs) question {
	for _, s := range e.Services {
		if s.Prefix != "" && strings.HasPrefix(r.URL.Path, s.Prefix) {
			op, labels := s.operationAt(r.Method, r.URL.EscapedPath())
			return question{s, op, c.rest, labels, r.URL.Query()}
		}
	}
	s, name, codec := e.routeRPC(r, c)
	if s == nil || r.Method != http.MethodPost {
		return question{codec: codec}
	}
	return question{service: s, operation: s.operation(name), codec: codec}
}

func (e *Edge) routeRPC(r *http.Request, c codecs) (*Service, string, codec) {
	if name, ours := strings.CutPrefix(r.URL.Path, "/sesame/v1/"); ours {
		return e.Sesame, name, c.sesameJSON
	}
	target := r.Header.Get("X-Amz-Target")
	if r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" && target == "" && r.Header.Get("X-Amzn-Target") == "" {
		segments := strings.Split(r.URL.Path, "/")
		if n := len(segments); n >= 4 && segments[n-4] == "service" && segments[n-2] == "operation" {
			for _, s := range e.Services {
				if s.Target != "" && (segments[n-3] == s.Target || segments[n-3] == s.Namespace+"."+s.Target) {
					return s, segments[n-1], c.rpcCBOR
				}
			}
		}
		return nil, "", c.rpcCBOR
	}
	for _, s := range e.Services {
		if name, ok := strings.CutPrefix(target, s.Target+"."); ok && s.Target != "" && r.URL.Path == "/" && r.Header.Get("Smithy-Protocol") == "" {
			return s, name, c.json10
		}
	}
	return nil, "", c.json10
}

// operationAt finds a REST operation by method and path, and gives what the path
// has for its labels. The path is the one that was sent, with its escapes, and may
// end in a slash.
func (s *Service) operationAt(method, path string) (*Operation, map[string]string) {
	sent := strings.Split(strings.TrimSuffix(path, "/"), "/")
	for i := range s.Operations {
		op := &s.Operations[i]
		if op.Method != method {
			continue
		}
		if labels, ok := match(strings.Split(op.Path, "/"), sent); ok {
			return op, labels
		}
	}
	return nil, nil
}

// match compares the segments of a path with those of an operation's. Dot segments
// are never a label: clients sign the path that is without them.
func match(template, sent []string) (labels map[string]string, ok bool) {
	if len(template) != len(sent) {
		return nil, false
	}
	labels = map[string]string{}
	for i, segment := range template {
		label, isLabel := strings.CutPrefix(segment, "{")
		if !isLabel {
			if segment != sent[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(sent[i])
		if sent[i] == "" || sent[i] == "." || sent[i] == ".." || err != nil || !utf8.ValidString(value) {
			return nil, false
		}
		labels[strings.TrimSuffix(label, "}")] = value
	}
	return labels, true
}

// prove finds out who sent r and notes it in o. It returns the body, or an *Error.
func (e *Edge) prove(r *http.Request, o *outcome) any {
	var key iam.Key
	verifier := e.Verifier
	verifier.Secret = func(ctx context.Context, id string) (string, bool, error) {
		k, policy, ok, err := e.Key(ctx, id)
		key, o.caller.Policy = k, policy
		return k.Secret, ok, err
	}
	accessKeyID, body, err := verifier.Verify(r)
	if refusal := new(sigv4.Error); errors.As(err, &refusal) {
		return &Error{Code: refusal.Code, Message: refusal.Message}
	}
	if errors.Is(err, sigv4.ErrBody) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return Errorf("RequestTimeoutException", "The request body did not come in time.")
		}
		return Errorf("MalformedHttpRequestException", "The request body broke off before its end.")
	}
	if err != nil {
		return e.refusal(r.Context(), err, o)
	}
	o.caller.AccessKeyID, o.caller.Account, o.caller.ARN = accessKeyID, key.Account, key.ARN()
	if body == nil {
		body = []byte{}
	}
	return body
}

// answer does everything between proving and writing. It returns the output or
// an *Error, and notes in o what happened.
func (e *Edge) answer(ctx context.Context, q question, body []byte, patterns map[string]*regexp.Regexp, o *outcome) (out any) {
	s, op := q.service, q.operation
	if s == nil {
		return Errorf("UnknownOperationException", "This address has no operation for that request.")
	}
	if op == nil {
		return Errorf("UnknownOperationException", "The operation is not one that Sesame has.")
	}
	o.operation, o.write = op.Name, op.Write
	if !e.Throttle.allow(o.caller.Account, op, e.Now()) {
		code := "ThrottlingException"
		if s.Throttled != "" {
			code = s.Throttled
		}
		return Errorf(code, "Rate exceeded")
	}

	in := reflect.New(op.Input)
	if refusal := q.read(body, in.Elem()); refusal != nil {
		return refusal
	}
	if op.before != nil {
		if err := op.before(ctx, o.caller, in.Interface()); err != nil {
			return e.refusal(ctx, err, o)
		}
	}
	if refusal := s.check(in.Interface(), patterns); refusal != nil {
		return refusal
	}

	// The decision needs the resource that the input names, so it comes after
	// the input has been checked; access looks up what it needs of that resource.
	access, err := op.access(ctx, o.caller, in.Interface())
	if err != nil {
		return e.refusal(ctx, err, o)
	}
	o.resource, o.id = access.Resource, access.Job
	if refusal := decide(o.caller, s.IAMPrefix+":"+op.Name, access); refusal != nil {
		return refusal
	}
	out, err = op.call(ctx, o.caller, in.Interface())
	if err != nil {
		return e.refusal(ctx, err, o)
	}
	if maker, ok := out.(Maker); ok {
		o.id = maker.Made()
	}
	return out
}

// read fills *in from the body and, for a REST operation, the address.
func (q question) read(body []byte, in reflect.Value) *Error {
	if q.operation.Method != http.MethodGet {
		tree, err := q.codec.decode(body)
		if err != nil {
			return serialization("The request body is malformed.")
		}
		if refusal := bind(tree, in); refusal != nil {
			return refusal
		}
		if q.service.Strict {
			if name := unknownMember(tree, in.Type()); name != "" {
				return Errorf("ValidationException", "The input has no member %q; names have their case.", name[:min(len(name), 100)])
			}
		}
	}
	return bindAddress(q.labels, q.query, in)
}

// check gives the first refusal of an input that is not as it must be.
func (s *Service) check(in any, patterns map[string]*regexp.Regexp) *Error {
	refusal := check(in, patterns, s.HideValues)
	if refusal != nil && s.Invalid != "" {
		refusal.Code = s.Invalid
	}
	return refusal
}

func decide(c Caller, action string, a Access) *Error {
	decision := c.Policy.Decide(iam.Request{
		Action: action, Resource: a.Resource,
		RequestTags: a.RequestTags, TagKeys: a.TagKeys, ResourceTags: a.ResourceTags, ExportSource: a.ExportSource,
	})
	because := "because no identity-based policy allows the " + action + " action"
	switch decision {
	case iam.Allow:
		return nil
	case iam.ExplicitDeny:
		because = "with an explicit deny in an identity-based policy"
	}
	return Errorf("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s %s", c.ARN, action, a.Resource, because)
}

// refusal turns an operation's error into what the client sees.
func (e *Edge) refusal(ctx context.Context, err error, o *outcome) *Error {
	if refusal := new(Error); errors.As(err, &refusal) {
		return refusal
	}
	if ctx.Err() != nil { // the client has gone; a store may say so in its own words
		return Errorf("ServiceUnavailable", "The request was given up before it was answered.")
	}
	o.cause = err
	return internalFailure(o)
}

func internalFailure(o *outcome) *Error {
	return Errorf("InternalFailure", "Something went wrong inside the server; its log says what under request id %s.", o.caller.RequestID)
}

func (e *Edge) report(r *http.Request, o outcome, d time.Duration) {
	e.Observe(o.operation, o.code, d)
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	attrs := []any{
		"request_id", o.caller.RequestID, "operation", o.operation, "code", o.code,
		"account", o.caller.Account, "access_key", o.caller.AccessKeyID, "source", source,
		"ms", float64(d.Microseconds()) / 1000,
	}
	if o.cause != nil {
		e.Log.Error("request failed", append(attrs, "error", o.cause)...)
	} else {
		e.Log.Info("request", attrs...)
	}
	if o.write {
		e.Audit.Info(o.operation, "request_id", o.caller.RequestID, "caller", o.caller.ARN,
			"access_key", o.caller.AccessKeyID, "source", source, "resource", o.resource, "id", o.id, "result", o.code)
	}
}
