package test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
)

// sender sends batches of events as Firehose does: a batch that is not answered
// with 200 is sent again, with the same request id, until it is.
type sender struct {
	url, key string
	random   *rand.Rand
	sent     []string // message ids of every batch that was begun
	acked    []string // those of the batches that were answered with 200
}

const perBatch = 40

// batch makes a request of new events, one a message, and some of them twice.
func (s *sender) batch(n int) (request string, ids []string, body []byte) {
	type record struct {
		Data string `json:"data"`
	}
	var records []record
	now := time.Now().UTC()
	for i := range perBatch {
		id := fmt.Sprintf("0100%012x-%08x-%04x-4000-8000-%012x-000000", now.UnixMilli(), s.random.Uint32(), i, n)
		ids = append(ids, id)
		event := fmt.Sprintf(`{"eventType":"Send","mail":{"timestamp":"%s","messageId":"%s","source":"news@shop.example","destination":["reader%d@example.com"],"tags":{"ses:configuration-set":["main"]}},"send":{}}`,
			now.Format("2006-01-02T15:04:05.000Z"), id, i)
		data := base64.StdEncoding.EncodeToString([]byte(event + "\n"))
		records = append(records, record{data})
		if i%10 == 0 {
			records = append(records, record{data})
		}
	}
	request = fmt.Sprintf("request-%d-%d", n, s.random.Uint64())
	body, err := json.Marshal(map[string]any{"requestId": request, "timestamp": now.UnixMilli(), "records": records})
	if err != nil {
		panic(err)
	}
	return request, ids, body
}

// run sends until stop is closed.
func (s *sender) run(stop <-chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second}
	for n := 0; ; n++ {
		request, ids, body := s.batch(n)
		s.sent = append(s.sent, ids...)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s.post(client, request, body) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		s.acked = append(s.acked, ids...)
	}
}

func (s *sender) post(client *http.Client, request string, body []byte) bool {
	r, err := http.NewRequest(http.MethodPost, s.url+"/ingest/firehose", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Amz-Firehose-Protocol-Version", "1.0")
	r.Header.Set("X-Amz-Firehose-Request-Id", request)
	r.Header.Set("X-Amz-Firehose-Access-Key", s.key)
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

// The server is killed a hundred times while events come in: every record that was
// acknowledged is there, and nothing is there twice.
func TestKillWhileEventsComeIn(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	s := start(t)
	key := s.newKey("000000000000", "firehose", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sesame:IngestEvents","Resource":"*"}}`)
	random := rand.New(rand.NewPCG(seed(t, "SESAME_KILL_SEED"), 4))
	stop := make(chan struct{})
	var senders []*sender
	var running sync.WaitGroup
	for range 4 {
		one := &sender{url: s.url, key: key.AccessKeyID + ":" + key.SecretAccessKey, random: rand.New(rand.NewPCG(random.Uint64(), 5))}
		senders = append(senders, one)
		running.Go(func() { one.run(stop) })
	}
	var slowest time.Duration
	for range kills {
		time.Sleep(time.Duration(20+random.IntN(250)) * time.Millisecond)
		s.kill()
		begun := time.Now()
		s.restart()
		slowest = max(slowest, time.Since(begun))
	}
	time.Sleep(100 * time.Millisecond)
	close(stop)
	running.Wait()
	s.stop()

	db, err := sql.Open("duckdb", filepath.Join(s.dir, "events.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT message_id, count(*) FROM events GROUP BY message_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	stored := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		stored[id] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	acked, sent := 0, map[string]bool{}
	for _, one := range senders {
		for _, id := range one.acked {
			if acked++; stored[id] != 1 {
				t.Errorf("%s was acknowledged and is there %d times", id, stored[id])
			}
		}
		for _, id := range one.sent {
			sent[id] = true
		}
	}
	for id, n := range stored {
		if n != 1 || !sent[id] {
			t.Errorf("%s is there %d times, was sent: %v", id, n, sent[id])
		}
	}
	t.Logf("%d kills; %d events acknowledged, %d there; the slowest start took %v", kills, acked, len(stored), slowest.Round(time.Millisecond))
	if acked < 100*kills {
		t.Errorf("only %d events were acknowledged", acked)
	}
}
