package yard

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// FirehoseBody begins the body of a request of Firehose. FirehoseRecord adds to it,
// and it ends in "]}".
func FirehoseBody(body []byte, id string, at time.Time) []byte {
	return fmt.Appendf(body, `{"requestId":"%s","timestamp":%d,"records":[`, id, at.UnixMilli())
}

// FirehoseRecord adds a record to a body.
func FirehoseRecord(body, record []byte) []byte {
	if body[len(body)-1] != '[' {
		body = append(body, ',')
	}
	body = append(body, `{"data":"`...)
	return append(base64.StdEncoding.AppendEncode(body, record), `"}`...)
}

// PostFirehose sends a request of FirehoseBody as Firehose does. The error is nil
// when the server has acknowledged it.
func PostFirehose(ctx context.Context, client *http.Client, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/ingest/firehose", bytes.NewReader(body))
	if err != nil {
		return err
	}
	var request struct{ RequestID string }
	head, _, _ := bytes.Cut(body, []byte(`,"records"`))
	if err := json.Unmarshal(append(bytes.Clone(head), '}'), &request); err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Amazon Kinesis Data Firehose Agent/1.0")
	r.Header.Set("X-Amz-Firehose-Protocol-Version", "1.0")
	r.Header.Set("X-Amz-Firehose-Request-Id", request.RequestID)
	r.Header.Set("X-Amz-Firehose-Source-Arn", "arn:aws:firehose:"+Region+":"+Account+":deliverystream/bench")
	r.Header.Set("X-Amz-Firehose-Access-Key", RootID+":"+RootSecret)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(text), request.RequestID) {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}
