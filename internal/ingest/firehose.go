package ingest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
)

// mostInBatch is how many records Firehose puts in a request at most.
const mostInBatch = 10_000

// firehose is the Firehose HTTP delivery protocol, version 1.0.
// https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
func (v *visit) firehose() error {
	h := v.r.Header
	v.foreignID = shortened(h.Get("X-Amz-Firehose-Request-Id"))
	id, secret, _ := strings.Cut(h.Get("X-Amz-Firehose-Access-Key"), ":")
	if err := v.prove(id, secret); err != nil {
		return err
	}
	if h.Get("X-Amz-Firehose-Protocol-Version") != "1.0" {
		return refuse(malformed, "The X-Amz-Firehose-Protocol-Version must be 1.0.")
	}
	if region := regionOf(h.Get("X-Amz-Firehose-Source-Arn"), "firehose"); region != "" {
		v.src.Region = region
	}
	body, err := v.read(&v.proved)
	if err != nil {
		return err
	}
	return v.storing(func(b *batch) error {
		requestID, err := firehoseBatch(body, func(data []byte, ok bool) error {
			if !ok {
				return b.setAside(v.r.Context(), data, "the record's data is not base64")
			}
			return b.data(v.r.Context(), data)
		})
		if v.foreignID == "" {
			v.foreignID = shortened(requestID)
		}
		return err
	})
}

var errEnvelope = refuse(malformed, "The request body is not a JSON object with requestId, timestamp and records.")

// firehoseBatch calls each with the data of every record of a request, or with what
// stands there when that is not base64; it is each's until that returns. Most of a
// request is base64, so it is read by hand: encoding/json would take as long as all
// else that is done with it.
func firehoseBatch(body []byte, each func(data []byte, ok bool) error) (requestID string, err error) {
	s := &scanner{rest: body}
	var decoded []byte
	records := -1
	err = s.object(func(name string) error {
		switch name {
		case "requestId":
			text, ok := s.text()
			if !ok {
				return errEnvelope
			}
			requestID = string(text)
			return nil
		case "records":
			records = 0
			return s.array(func() error {
				if records++; records > mostInBatch {
					return refuse(tooLarge, "The request must have at most %d records.", mostInBatch)
				}
				has := false
				err := s.object(func(name string) error {
					if name != "data" {
						return s.skip()
					}
					text, ok := s.text()
					if !ok {
						return errEnvelope
					}
					has = true
					if need := base64.StdEncoding.DecodedLen(len(text)); need > cap(decoded) {
						decoded = make([]byte, need)
					}
					n, err := base64.StdEncoding.Decode(decoded[:cap(decoded)], text)
					if err != nil {
						return each(text, false)
					}
					return each(decoded[:n], true)
				})
				if err == nil && !has {
					err = errEnvelope
				}
				return err
			})
		}
		return s.skip()
	})
	if errors.Is(err, errScan) || err == nil && (records < 0 || !s.end()) {
		err = errEnvelope
	}
	return requestID, err
}

// answerFirehose says what became of a request, in the only form that Firehose
// takes.
func (v *visit) answerFirehose(refused *refusal) {
	out := struct {
		RequestID    string `json:"requestId"`
		Timestamp    int64  `json:"timestamp"`
		ErrorMessage string `json:"errorMessage,omitempty"`
	}{v.foreignID, v.Now().UnixMilli(), ""}
	status := http.StatusOK
	if refused != nil {
		status, out.ErrorMessage = v.door.statuses[refused.kind], refused.message
	}
	v.writeJSON(status, out)
}
