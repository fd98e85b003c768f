package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"sesame/internal/config"
	"sesame/internal/iam"
	"sesame/internal/metadb"
)

// callers finds access keys for the edge. Keys are read from the store with each
// request, so one that is disabled is useless from the next request on.
type callers struct {
	keys    metadb.AccessKeys
	account string  // the root key's
	root    iam.Key // from the environment; ID is "" when it is in the store
}

const rootName = "root"

// findRoot sees to it that there is a root key: the environment's, else the one
// in the store, else a new one, which it gives to be shown.
func (c *callers) findRoot(ctx context.Context) (made config.Root, err error) {
	root, ok, err := config.RootFromEnvironment()
	if err != nil {
		return made, err
	}
	if ok {
		c.root = iam.Key{ID: root.AccessKeyID, Secret: root.SecretAccessKey, Account: c.account, Name: rootName, Policy: iam.AdministratorPolicy}
		return made, nil
	}
	all, err := c.keys.All(ctx, c.account)
	if err != nil {
		return made, fmt.Errorf("look for the root access key: %w", err)
	}
	for _, k := range all {
		if k.Name == rootName {
			return made, nil
		}
	}
	k, err := iam.NewKey(rand.Reader, c.account, rootName, iam.AdministratorPolicy, time.Now())
	if err != nil {
		return made, fmt.Errorf("make the root access key: %w", err)
	}
	if err := c.keys.Add(ctx, k); err != nil {
		return made, fmt.Errorf("keep the new root access key: %w", err)
	}
	return config.Root{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, nil
}

// find is wire.Edge's Key.
func (c *callers) find(ctx context.Context, id string) (iam.Key, *iam.Policy, bool, error) {
	k := c.root
	if c.root.ID == "" || id != c.root.ID {
		var err error
		k, err = c.keys.Find(ctx, id)
		if errors.Is(err, metadb.ErrNoKey) || err == nil && k.Disabled {
			return iam.Key{}, nil, false, nil
		}
		if err != nil {
			return iam.Key{}, nil, false, err
		}
	}
	policy, err := iam.Parse([]byte(k.Policy))
	if err != nil {
		return iam.Key{}, nil, false, fmt.Errorf("the policy of access key %s: %w", k.ID, err)
	}
	return k, policy, true, nil
}
