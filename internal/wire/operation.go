// Package wire is the edge that every API request passes: request id, limits,
// who is calling, throttling, decoding, constraints, what the caller may do, the
// operation itself, and the answer in the protocol the question came in.
//
// It promises that an operation sees only input that satisfies every declared
// constraint, from a caller who may ask for it, and that whatever the operation
// returns reaches the client in the service's own form. It knows protocols and
// no service: services hand it their operation table.
//
// It may import sigv4 and iam, and nothing else of Sesame.
package wire

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"sesame/internal/iam"
)

// Caller is who sent a request, as proved by its signature.
type Caller struct {
	AccessKeyID string
	Account     string // 12 digits
	ARN         string // arn:aws:iam::{account}:user/{name}
	RequestID   string
	Policy      *iam.Policy
}

// Access is what an operation's input asks access to.
type Access struct {
	Resource     string            // ARN, or "*"
	RequestTags  map[string]string // tags the request would set
	TagKeys      []string          // keys of the tags the request would set or remove
	ResourceTags map[string]string // tags the resource has
	ExportSource string            // what the export job is of, "" when nothing says
	Job          string            // id of the job that is acted on, for the audit line
}

// Maker is an output that names what the operation made, for the audit line.
type Maker interface {
	Made() (id string)
}

// Operation is one entry of a service's table. Build it with Op.
type Operation struct {
	Name   string
	Errors []string // codes of the errors that the model declares for it
	Write  bool     // changes something, so it leaves an audit line

	Input  reflect.Type // the input struct, constraints as tags (see constraints.go)
	Output reflect.Type

	// Method and Path are where a REST service has the operation, "GET" and
	// "/v2/email/insights/{MessageId}".
	Method, Path string

	perSecond int // calls of one account; 0 for as many as the edge allows

	before func(ctx context.Context, c Caller, in any) error // refusals that come before those of the constraints, or nil
	access func(ctx context.Context, c Caller, in any) (Access, error)
	call   func(ctx context.Context, c Caller, in any) (any, error)
}

// Op declares an operation: its name, the access its input needs, its handler,
// and the errors its model declares. access runs after the input has been
// checked; an error from it is answered like one from the handler.
func Op[I, O any](name string, write bool,
	access func(context.Context, Caller, *I) (Access, error),
	handle func(context.Context, Caller, *I) (*O, error),
	errors ...string,
) Operation {
	return Operation{
		Name: name, Errors: errors, Write: write,
		Input: reflect.TypeFor[I](), Output: reflect.TypeFor[O](),
		access: func(ctx context.Context, c Caller, in any) (Access, error) { return access(ctx, c, in.(*I)) },
		call: func(ctx context.Context, c Caller, in any) (any, error) {
			out, err := handle(ctx, c, in.(*I))
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// At gives the operation its place in a REST service: method and path, such as
// "GET /v2/email/insights/{MessageId}". A segment in braces is bound to the input's
// member of that name, members with a tag query:"Name" to the parameter of the query
// string, and what is left to the body, which a GET does not have.
func (op Operation) At(place string) Operation {
	op.Method, op.Path, _ = strings.Cut(place, " ")
	return op
}

// AtMost limits the operation to so many calls a second of one account, and as many
// at once, whatever the edge's Throttle says.
func (op Operation) AtMost(perSecond int) Operation {
	op.perSecond = perSecond
	return op
}

// Before gives the operation refusals that come before those of its constraints.
// refuse gets a pointer to the input, of which members may be missing or of any value;
// its errors are as a handler's.
func (op Operation) Before(refuse func(ctx context.Context, c Caller, in any) error) Operation {
	op.before = refuse
	return op
}

// Service is one API: its names on the wire and its operations.
type Service struct {
	Namespace  string         // Smithy namespace of its shapes, "com.amazonaws.mailmanager"
	Target     string         // name in X-Amz-Target and in RPC paths, "MailManagerSvc"; "" for a REST service
	Prefix     string         // of a REST service: what all its paths begin with, "/v2/email/"
	IAMPrefix  string         // "ses": actions are IAMPrefix:OperationName
	Errors     map[string]int // the model's errors and their httpError status
	Operations []Operation
	Strict     bool // a member that an input does not have is refused; otherwise, as AWS does, passed over

	Invalid    string // code for input that breaks a constraint; "" for ValidationException
	Throttled  string // code for too many requests; "" for ThrottlingException
	HideValues bool   // messages about constraints do not repeat values
}

func (s *Service) operation(name string) *Operation {
	for i := range s.Operations {
		if s.Operations[i].Name == name {
			return &s.Operations[i]
		}
	}
	return nil
}

// Error is a refusal that the client sees.
type Error struct {
	Code    string // shape name, "ConflictException"
	Message string
}

// Error gives code and message on one line.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
