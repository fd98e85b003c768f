package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"

	"sesame/bench/yard"
)

// shared is what was measured of imports that do not have a server to themselves.
type shared struct {
	lines int // of each import

	beside       time.Duration // one import beside calls
	during, idle calls         // those calls, and the same when the import is over

	both            []time.Duration // two imports at the same time
	peak, anonymous int64           // of their server, as in figures
}

// calls is how long calls of each kind took: every callEvery one look-up and one
// registration, which goes in turn into another list and into the one that is
// imported into.
type calls [3][]time.Duration

const (
	registerOther = iota
	registerSame
	lookUpSame
)

var callNames = [...]string{
	"RegisterMember into another list", "RegisterMember into the same list", "GetMemberOfAddressList of the same list",
}

const (
	callEvery = 50 * time.Millisecond
	idleFor   = 15 * time.Second
	kept      = "kept@calls.example" // what is looked up; a member of the list since before the import
)

// measureShared imports f beside calls, and then, on another server, twice at the
// same time.
func measureShared(ctx context.Context, binary string, f files) (got shared, err error) {
	got.lines = f.lines
	data := filepath.Join(f.dir, "data")

	yard.Say("importing %d lines beside calls", f.lines)
	err = withServer(ctx, binary, data, func(_ int, c client) error {
		other, err := c.createList(ctx, "other")
		if err != nil {
			return err
		}
		same, err := c.createList(ctx, "same")
		if err != nil {
			return err
		}
		if err := c.register(ctx, same, kept); err != nil {
			return err
		}
		job, err := c.upload(ctx, same, f.csv)
		if err != nil {
			return err
		}
		syscall.Sync()

		imported, ended := make(chan struct{}), make(chan error)
		var registered []string
		go func() {
			var err error
			got.during, registered, err = c.call(ctx, imported, other, same, "during")
			ended <- err
		}()
		got.beside, err = c.runJob(ctx, job, f)
		close(imported)
		if failed := <-ended; err == nil {
			err = failed
		}
		if err != nil {
			return err
		}
		if err := c.checkMembers(ctx, same, append(registered, f.samples...)); err != nil {
			return err
		}

		yard.Say("the same calls for %v, with nothing else to do", idleFor)
		syscall.Sync()
		over, cancel := context.WithTimeout(ctx, idleFor)
		defer cancel()
		got.idle, _, err = c.call(ctx, over.Done(), other, same, "idle")
		return err
	})
	if err != nil {
		return got, err
	}
	if err := os.RemoveAll(data); err != nil {
		return got, err
	}

	yard.Say("importing %d lines into each of two lists at the same time", f.lines)
	err = withServer(ctx, binary, data, func(pid int, c client) error {
		var lists, jobs [2]string
		for i := range jobs {
			if lists[i], err = c.createList(ctx, fmt.Sprint("list", i)); err != nil {
				return err
			}
			if jobs[i], err = c.upload(ctx, lists[i], f.csv); err != nil {
				return err
			}
		}
		syscall.Sync()
		got.both = make([]time.Duration, len(jobs))
		var errs [len(jobs)]error
		var all sync.WaitGroup
		anonymous := watchMemory(pid)
		for i := range jobs {
			all.Go(func() { got.both[i], errs[i] = c.runJob(ctx, jobs[i], f) })
		}
		all.Wait()
		got.anonymous = anonymous()
		if got.peak, err = yard.Memory(pid, "VmHWM"); err != nil {
			return err
		}
		for i := range lists {
			if errs[i] != nil {
				return errs[i]
			}
			if err := c.checkMembers(ctx, lists[i], f.samples); err != nil {
				return err
			}
		}
		return nil
	})
	return got, err
}

// call makes its calls until the channel is closed, and says which addresses it
// made members of the list same; they begin with name. A call does not wait for the
// one before it, so each call shows that a server has stopped answering, and not
// only the first.
func (c client) call(ctx context.Context, until <-chan struct{}, other, same, name string) (took calls, registered []string, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards took and err until all have ended
	timed := func(into *[]time.Duration, do func() error) {
		all.Go(func() {
			start := time.Now()
			failed := do()
			d := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			*into = append(*into, d)
			if err == nil {
				err = failed
			}
		})
	}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-until:
			all.Wait()
			return took, registered, err
		case <-tick.C:
		}
		timed(&took[lookUpSame], func() error {
			_, err := c.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: &same, Address: aws.String(kept)})
			return err
		})
		address := fmt.Sprintf("%s-%d@calls.example", name, i)
		if i%2 == 0 {
			timed(&took[registerOther], func() error { return c.register(ctx, other, address) })
			continue
		}
		registered = append(registered, address)
		timed(&took[registerSame], func() error { return c.register(ctx, same, address) })
	}
}

func (c client) register(ctx context.Context, list, address string) error {
	_, err := c.RegisterMemberToAddressList(ctx, &mailmanager.RegisterMemberToAddressListInput{AddressListId: &list, Address: &address})
	return err
}
