package ingest

// Held gives how many bytes of bodies are in hand.
func (d *Doors) Held() int64 {
	d.proved.mu.Lock()
	defer d.proved.mu.Unlock()
	d.strangers.mu.Lock()
	defer d.strangers.mu.Unlock()
	d.notices.mu.Lock()
	defer d.notices.mu.Unlock()
	return d.proved.used + d.strangers.used + d.notices.used
}

// FirehoseBatch is firehoseBatch, for the fuzz test.
var FirehoseBatch = firehoseBatch

// Limits are a door's.
type Limits struct {
	Stored, Unpacked int64
	Records          int
}

// RealLimits are those of the doors before init makes them smaller, so that tests
// of what is above them are quick.
var RealLimits = map[string]Limits{}

func init() {
	for _, d := range doors {
		RealLimits[d.name] = Limits{d.stored, d.unpacked, d.records}
		d.stored, d.unpacked = min(d.stored, 3<<20), min(d.unpacked, 3<<20)
		d.records = 2000
	}
}
