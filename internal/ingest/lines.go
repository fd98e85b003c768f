package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sesame/internal/iam"
	"sesame/internal/sigv4"
)

// eventbridge is an API destination of EventBridge: one event or an array of them.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
func (v *visit) eventbridge() error {
	id, secret, _ := v.r.BasicAuth()
	if key := v.r.Header.Get("X-Api-Key"); key != "" {
		id, secret, _ = strings.Cut(key, ":")
	}
	if err := v.prove(id, secret); err != nil {
		return err
	}
	body, err := v.read(&v.proved)
	if err != nil {
		return err
	}
	return v.storing(func(b *batch) error { return b.data(v.r.Context(), body) })
}

// lines are events as lines of JSON or as an array, signed with Signature Version 4
// as every API request is.
func (v *visit) lines() error {
	in, err := v.open()
	if err != nil {
		return err
	}
	// The signature is of the body as it is sent, so that is read whole before its
	// sender is known, but not before they have named a key that there is.
	v.r.Body = &holding{ReadCloser: v.r.Body, in: in, v: v, g: &v.strangers}
	var key iam.Key
	var policy *iam.Policy
	verifier := sigv4.Verifier{
		Scope: sigv4.Scope{Region: v.Region, Service: "ses"}, MaxBody: v.door.stored, Skew: 15 * time.Minute, Now: v.Now,
		Secret: func(ctx context.Context, id string) (secret string, ok bool, err error) {
			key, policy, ok, err = v.Key(ctx, id)
			return key.Secret, ok, err
		},
	}
	_, body, err := verifier.Verify(v.r)
	if in.err != nil {
		return in.err
	}
	if refused := new(sigv4.Error); errors.As(err, &refused) {
		k := noKey
		switch refused.Code {
		case "RequestEntityTooLargeException":
			k = tooLarge
		case "MalformedHttpRequestException":
			k = malformed
		}
		return &refusal{kind: k, code: refused.Code, message: refused.Message}
	}
	if err != nil {
		return fmt.Errorf("prove a request: %w", err)
	}
	if err := v.allow(key, policy); err != nil {
		return err
	}
	if body, err = v.unpack(bytes.NewReader(body), int64(len(body)), &v.proved); err != nil {
		return err
	}
	v.letGo(&v.strangers, v.held[&v.strangers]) // what came is not needed any more
	return v.storing(func(b *batch) error { return b.data(v.r.Context(), body) })
}

// codes are the names of refusals, which have the form of the API's errors.
var codes = [kinds]string{
	noKey: "UnrecognizedClientException", notAllowed: "AccessDeniedException", malformed: "MalformedHttpRequestException",
	tooLarge: "RequestEntityTooLargeException", broken: "RequestTimeoutException", busy: "ServiceUnavailable", failed: "InternalFailure",
}

func (v *visit) answerLines(refused *refusal) {
	if refused == nil {
		v.writeJSON(http.StatusOK, v.counts)
		return
	}
	code := refused.code
	if code == "" {
		code = codes[refused.kind]
	}
	v.writeJSON(v.door.statuses[refused.kind], map[string]string{"__type": "com.amazon.coral.service#" + code, "message": refused.message})
}
