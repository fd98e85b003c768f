package mailmanager

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"sesame/internal/address"
	"sesame/internal/lists"
	"sesame/internal/wire"
)

func (a *API) createAddressList(ctx context.Context, c wire.Caller, in *createAddressListInput) (*createAddressListOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	// The order of tags says nothing; SDKs may take them from a map.
	params := digest([]any{in.AddressListName, tags})
	id, err := a.Lists.Create(ctx, a.owner(c), *in.AddressListName, tags, lists.NewClientToken(in.ClientToken, params, a.Now()))
	if errors.Is(err, lists.ErrTokenReused) {
		return nil, wire.Errorf(conflict, "The ClientToken was used before with other parameters.")
	}
	if err != nil {
		return nil, refuse(err)
	}
	return &createAddressListOutput{AddressListId: id}, nil
}

func (a *API) shape(l lists.List) addressList {
	return addressList{
		AddressListId: l.ID, AddressListArn: a.arn(l.Owner.Account, l.ID), AddressListName: l.Name,
		CreatedTimestamp: l.Created, LastUpdatedTimestamp: l.Updated,
	}
}

func (a *API) getAddressList(ctx context.Context, c wire.Caller, in *getAddressListInput) (*addressList, error) {
	l, err := a.Lists.Get(ctx, a.owner(c), *in.AddressListId)
	if err != nil {
		return nil, refuse(err)
	}
	out := a.shape(l)
	return &out, nil
}

func (a *API) listAddressLists(ctx context.Context, c wire.Caller, in *listAddressListsInput) (*listAddressListsOutput, error) {
	after, err := a.Pages.Cursor(c, "ListAddressLists", nil, in.NextToken)
	if err != nil {
		return nil, err
	}
	n := pageSize(in.PageSize, 50)
	found, err := a.Lists.List(ctx, a.owner(c), after, n+1)
	if err != nil {
		return nil, refuse(err)
	}
	next := ""
	if len(found) > n {
		found, next = found[:n], found[n-1].ID
	}
	out := &listAddressListsOutput{AddressLists: make([]addressList, len(found)), NextToken: a.Pages.Token(c, "ListAddressLists", nil, next)}
	for i, l := range found {
		out.AddressLists[i] = a.shape(l)
	}
	return out, nil
}

func (a *API) deleteAddressList(ctx context.Context, c wire.Caller, in *deleteAddressListInput) (*empty, error) {
	return &empty{}, refuse(a.Lists.Delete(ctx, a.owner(c), *in.AddressListId))
}

func (a *API) registerMember(ctx context.Context, c wire.Caller, in *memberInput) (*empty, error) {
	return &empty{}, refuse(a.Lists.Register(ctx, a.owner(c), *in.AddressListId, *in.Address))
}

func (a *API) deregisterMember(ctx context.Context, c wire.Caller, in *memberInput) (*empty, error) {
	return &empty{}, refuse(a.Lists.Deregister(ctx, a.owner(c), *in.AddressListId, *in.Address))
}

func (a *API) getMember(ctx context.Context, c wire.Caller, in *memberInput) (*savedAddress, error) {
	m, err := a.Lists.Member(ctx, a.owner(c), *in.AddressListId, *in.Address)
	if err != nil {
		return nil, refuse(err)
	}
	return &savedAddress{Address: m.Address, CreatedTimestamp: m.Created}, nil
}

func (a *API) listMembers(ctx context.Context, c wire.Caller, in *listMembersInput) (*listMembersOutput, error) {
	prefix := ""
	if in.Filter != nil && in.Filter.AddressPrefix != nil {
		prefix = *in.Filter.AddressPrefix
	}
	arguments := []string{*in.AddressListId, prefix}
	after, err := a.Pages.Cursor(c, "ListMembersOfAddressList", arguments, in.NextToken)
	if err != nil {
		return nil, err
	}
	n := pageSize(in.PageSize, 1000)
	found, err := a.Lists.Members(ctx, a.owner(c), *in.AddressListId, prefix, after, n+1)
	if err != nil {
		return nil, refuse(err)
	}
	next := ""
	if len(found) > n {
		found, next = found[:n], found[n-1].Key
	}
	out := &listMembersOutput{Addresses: make([]savedAddress, len(found)), NextToken: a.Pages.Token(c, "ListMembersOfAddressList", arguments, next)}
	for i, m := range found {
		out.Addresses[i] = savedAddress{Address: m.Address, CreatedTimestamp: m.Created}
	}
	return out, nil
}

// listOfARN gives the id of the list that arn names for the caller.
func (a *API) listOfARN(c wire.Caller, arn *string) (string, error) {
	id, ok := strings.CutPrefix(*arn, a.arn(c.Account, ""))
	if !ok {
		return "", wire.Errorf(notFound, "The resource was not found.")
	}
	return id, nil
}

func (a *API) tagResource(ctx context.Context, c wire.Caller, in *tagResourceInput) (*empty, error) {
	id, err := a.listOfARN(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &empty{}, refuse(a.Lists.Tag(ctx, a.owner(c), id, tags))
}

func (a *API) untagResource(ctx context.Context, c wire.Caller, in *untagResourceInput) (*empty, error) {
	id, err := a.listOfARN(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &empty{}, refuse(a.Lists.Untag(ctx, a.owner(c), id, values(in.TagKeys)))
}

func (a *API) listTags(ctx context.Context, c wire.Caller, in *listTagsInput) (*listTagsOutput, error) {
	id, err := a.listOfARN(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	l, err := a.Lists.Get(ctx, a.owner(c), id)
	if err != nil {
		return nil, refuse(err)
	}
	out := &listTagsOutput{Tags: make([]tagOutput, 0, len(l.Tags))}
	for _, key := range slices.Sorted(maps.Keys(l.Tags)) {
		out.Tags = append(out.Tags, tagOutput{Key: key, Value: l.Tags[key]})
	}
	return out, nil
}

func (a *API) matchAddressList(ctx context.Context, c wire.Caller, in *matchAddressListInput) (*matchAddressListOutput, error) {
	out := &matchAddressListOutput{Matches: make([]match, len(in.Addresses))}
	for i, asked := range in.Addresses {
		m, matched, err := a.Lists.Match(ctx, a.owner(c), *in.AddressListId, *asked)
		out.Matches[i] = match{Address: *asked, Matched: matched}
		var reason address.Reason
		if errors.As(err, &reason) {
			text := reason.Error()
			out.Matches[i].Error = &text
		} else if err != nil {
			return nil, refuse(err)
		} else if matched {
			out.Matches[i].Entry = &m.Address
		}
	}
	return out, nil
}

// exportAddressList gives a URL at which the list's members can be fetched.
func (a *API) exportAddressList(ctx context.Context, c wire.Caller, in *exportAddressListInput) (*exportAddressListOutput, error) {
	l, err := a.Lists.Get(ctx, a.owner(c), *in.AddressListId)
	if err != nil {
		return nil, refuse(err)
	}
	file := l.Name + ".csv"
	if in.Format != nil && *in.Format == "JSON" {
		file = l.Name + ".json"
	}
	if in.Compression != nil && *in.Compression == "GZIP" {
		file += ".gz"
	}
	return &exportAddressListOutput{Url: a.MembersURL(c.Account, l.ID, file, a.Now())}, nil
}
