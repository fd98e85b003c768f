package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// codec is one protocol's way to write values down. Both directions go through
// the tree of plain values (bind.go, encode.go), so an operation is declared
// once whatever the protocol.
type codec interface {
	// decode parses a request body into a tree.
	decode(body []byte) (any, error)
	// output writes a successful answer; out is nil or a pointer to a struct.
	output(w http.ResponseWriter, out any)
	// refuse writes an error of service s (nil when none was found).
	refuse(w http.ResponseWriter, s *Service, e *Error)
}

var errMalformed = errors.New("malformed body")

// jsonCodec is AWS JSON 1.0, and the JSON of /sesame/v1/, which
// differs in its content type and in using the model's statuses.
type jsonCodec struct {
	contentType string
	status      func(s *Service, e *Error) int
}

func newJSON10() codec {
	return jsonCodec{contentType: "application/x-amz-json-1.0", status: func(_ *Service, e *Error) int {
		// The protocol ignores httpError traits: client errors are 400.
		if status := frameworkStatus(e.Code); status >= 500 || status == http.StatusRequestEntityTooLarge {
			return status
		}
		return http.StatusBadRequest
	}}
}

func newSesameJSON() codec { return jsonCodec{contentType: "application/json", status: modelStatus} }

func (c jsonCodec) decode(body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil // the same as {}
	}
	if !utf8.Valid(body) { // encoding/json would mend it silently
		return nil, errMalformed
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errMalformed
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errMalformed
	}
	return v, nil
}

func (c jsonCodec) output(w http.ResponseWriter, out any) {
	c.write(w, http.StatusOK, tree(reflect.ValueOf(out), jsonTimestamp))
}

func (c jsonCodec) refuse(w http.ResponseWriter, s *Service, e *Error) {
	c.write(w, c.status(s, e), errorBody(s, e))
}

func (c jsonCodec) write(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // pre-signed URLs stay readable
	if err := enc.Encode(v); err != nil {
		panic("wire: output does not encode: " + err.Error())
	}
	w.Header().Set("Content-Type", c.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// jsonTimestamp is a number of epoch seconds with milliseconds.
func jsonTimestamp(t time.Time) any {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64))
}

// restCodec is restJson1: the error's name stands in a header, and its message is
// all of the body.
type restCodec struct{ jsonCodec }

func newREST() codec {
	return restCodec{jsonCodec{contentType: "application/json", status: modelStatus}}
}

func (c restCodec) refuse(w http.ResponseWriter, s *Service, e *Error) {
	w.Header().Set("X-Amzn-Errortype", e.Code)
	c.write(w, c.status(s, e), map[string]string{"message": e.Message})
}

// cborCodec is Smithy RPC v2 CBOR.
type cborCodec struct {
	dec cbor.DecMode
	enc cbor.EncMode
}

func newCBOR() codec {
	dec, err := cbor.DecOptions{
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  32,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 16,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	enc, err := cbor.EncOptions{Sort: cbor.SortCanonical}.EncMode()
	if err != nil {
		panic(err)
	}
	return cborCodec{dec, enc}
}

func (c cborCodec) decode(body []byte) (any, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var v any
	if err := c.dec.Unmarshal(body, &v); err != nil {
		return nil, errMalformed
	}
	return v, nil
}

func (c cborCodec) output(w http.ResponseWriter, out any) {
	c.write(w, http.StatusOK, tree(reflect.ValueOf(out), cborTimestamp))
}

func (c cborCodec) refuse(w http.ResponseWriter, s *Service, e *Error) {
	c.write(w, modelStatus(s, e), errorBody(s, e))
}

func (c cborCodec) write(w http.ResponseWriter, status int, v any) {
	b, err := c.enc.Marshal(v)
	if err != nil {
		panic("wire: output does not encode: " + err.Error())
	}
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor") // without it clients call the answer malformed
	w.Header().Set("Content-Type", "application/cbor")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// cborTimestamp is tag 1 with epoch seconds in millisecond resolution.
func cborTimestamp(t time.Time) any {
	return cbor.Tag{Number: 1, Content: float64(t.UnixMilli()) / 1000}
}

// errorBody is an error in the form of both RPC protocols: the full shape id, and
// the message under the name that its shape gives it. The errors of the service
// framework have no shape in the model.
func errorBody(s *Service, e *Error) map[string]any {
	if s != nil {
		if _, modelled := s.Errors[e.Code]; modelled {
			return map[string]any{"__type": s.Namespace + "#" + e.Code, "Message": e.Message}
		}
	}
	return map[string]any{"__type": "com.amazon.coral.service#" + e.Code, "message": e.Message}
}

// modelStatus is the status that the model's httpError trait gives e.
func modelStatus(s *Service, e *Error) int {
	if s != nil {
		if status, modelled := s.Errors[e.Code]; modelled {
			return status
		}
	}
	return frameworkStatus(e.Code)
}

// frameworkStatus is the status of the errors that every service shares.
func frameworkStatus(code string) int {
	switch code {
	case "MissingAuthenticationTokenException", "IncompleteSignatureException", "UnrecognizedClientException",
		"InvalidSignatureException", "ExpiredTokenException", "AccessDeniedException":
		return http.StatusForbidden
	case "UnknownOperationException":
		return http.StatusNotFound
	case "RequestEntityTooLargeException":
		return http.StatusRequestEntityTooLarge
	case "RequestTimeoutException":
		return http.StatusRequestTimeout
	case "ThrottlingException":
		return http.StatusTooManyRequests
	case "InternalFailure":
		return http.StatusInternalServerError
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
