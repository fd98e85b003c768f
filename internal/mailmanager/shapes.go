package mailmanager

import "time"

// The shapes of the service model, member for member; see wire/constraints.go
// for the tags. Inputs are all pointers, so that absent and empty differ.

type tag struct {
	Key   *string `required:"true" length:"1..128" pattern:"^[a-zA-Z0-9/_\\+=\\.:@\\-]+$"`
	Value *string `required:"true" length:"0..256" pattern:"^[a-zA-Z0-9/_\\+=\\.:@\\-]*$"`
}

type createAddressListInput struct {
	ClientToken     *string `length:"1..128"`
	AddressListName *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9_.-]+$"`
	Tags            []*tag  `length:"0..200"`
}

type createAddressListOutput struct {
	AddressListId string
}

// Made is wire.Maker's.
func (o *createAddressListOutput) Made() string { return o.AddressListId }

type getAddressListInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
}

// addressList is GetAddressList's output and an element of ListAddressLists'.
type addressList struct {
	AddressListId        string
	AddressListArn       string
	AddressListName      string
	CreatedTimestamp     time.Time
	LastUpdatedTimestamp time.Time
}

type listAddressListsInput struct {
	NextToken *string `length:"1..2048"`
	PageSize  *int32  `range:"1..50"`
}

type listAddressListsOutput struct {
	AddressLists []addressList
	NextToken    *string
}

type deleteAddressListInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
}

// empty is the output of operations that answer nothing.
type empty struct{}

// memberInput is the input of the three operations on one member.
type memberInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Address       *string `required:"true" length:"3..320" sensitive:"true"`
}

// savedAddress is GetMemberOfAddressList's output and an element of
// ListMembersOfAddressList's.
type savedAddress struct {
	Address          string
	CreatedTimestamp time.Time
}

type addressFilter struct {
	AddressPrefix *string `length:"1..320" sensitive:"true"`
}

type listMembersInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Filter        *addressFilter
	NextToken     *string `length:"1..2048"`
	PageSize      *int32  `range:"1..1000"`
}

type listMembersOutput struct {
	Addresses []savedAddress
	NextToken *string
}

type importDataFormatInput struct {
	ImportDataType *string `required:"true" enum:"CSV,JSON"`
}

type createImportJobInput struct {
	ClientToken      *string                `length:"1..128"`
	AddressListId    *string                `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Name             *string                `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9_.-]+$"`
	ImportDataFormat *importDataFormatInput `required:"true"`
}

type createImportJobOutput struct {
	JobId        string
	PreSignedUrl string
}

// Made is wire.Maker's.
func (o *createImportJobOutput) Made() string { return o.JobId }

// jobInput is the input of the three operations on one job.
type jobInput struct {
	JobId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
}

type importDataFormat struct {
	ImportDataType string
}

// importJob is GetAddressListImportJob's output and an element of
// ListAddressListImportJobs'.
type importJob struct {
	JobId              string
	Name               string
	Status             string
	PreSignedUrl       string
	ImportedItemsCount *int32
	FailedItemsCount   *int32
	ImportDataFormat   importDataFormat
	AddressListId      string
	CreatedTimestamp   time.Time
	StartTimestamp     *time.Time
	CompletedTimestamp *time.Time
	Error              *string
}

type listImportJobsInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	NextToken     *string `length:"1..2048"`
	PageSize      *int32  `range:"1..50"`
}

type listImportJobsOutput struct {
	ImportJobs []importJob
	NextToken  *string
}

type tagResourceInput struct {
	ResourceArn *string `required:"true" length:"20..1011" pattern:"^arn:aws(|-cn|-us-gov|-eusc):ses:[a-z0-9-]{1,20}:[0-9]{12}:(mailmanager-|addon-).+$"`
	Tags        []*tag  `required:"true" length:"0..200"`
}

type untagResourceInput struct {
	ResourceArn *string   `required:"true" length:"20..1011" pattern:"^arn:aws(|-cn|-us-gov|-eusc):ses:[a-z0-9-]{1,20}:[0-9]{12}:(mailmanager-|addon-).+$"`
	TagKeys     []*string `required:"true" length:"0..200" elementlength:"1..128" elementpattern:"^[a-zA-Z0-9/_\\+=\\.:@\\-]+$"`
}

type listTagsInput struct {
	ResourceArn *string `required:"true" length:"20..1011" pattern:"^arn:aws(|-cn|-us-gov|-eusc):ses:[a-z0-9-]{1,20}:[0-9]{12}:(mailmanager-|addon-).+$"`
}

type tagOutput struct {
	Key   string
	Value string
}

type listTagsOutput struct {
	Tags []tagOutput
}

// The shapes of Sesame's own operations, under /sesame/v1/.

type refusedFor struct {
	Code   string
	Reason string // in plain words
	Lines  int64
}

// importReport says what became of a job's lines. The counts of members grow
// while entries are merged, and come true when Status is COMPLETED. They are 0 of
// a job that FAILED or was STOPPED, since that changes nothing; in a dry run they
// say what would be.
type importReport struct {
	JobId           string
	Status          string
	Mode            string  // APPEND, REPLACE or REMOVE
	DryRun          bool    // the list is not changed
	ShareDone       float64 // of the whole work, 0 to 1
	LinesRead       int64   // so far, blank ones left out
	Lines           *int64  // of the file; absent until it has been read
	Imported        int64   // valid lines whose entry is applied, or would be by a dry run: 0 until the end
	Added           int64   // members that are new
	AlreadyPresent  int64   // entries that were members before; 0 in the mode REMOVE
	Removed         int64   // members that leave, in the modes REPLACE and REMOVE
	NotPresent      int64   // entries that were no members, in the mode REMOVE
	DuplicateInFile int64   // lines whose entry another line had; 0 until the list is changed
	Members         *int64  // of the list afterwards; absent until the job has completed
	OverLimit       int64   // members that the list would have above its limit, which failed the job
	Invalid         int64   // lines refused
	InvalidByReason []refusedFor
	Phases          []phase // that have begun, in order
	RefusedLinesUrl *string // CSV of each refused line; fetch it within 12 hours
	Error           *string
}

// phase is a part of the work on a job that has begun.
type phase struct {
	Name          string // READING, MERGING, STORING
	Seconds       float64
	Rows          int64 // lines read, or members and entries merged
	RowsPerSecond float64
	Bytes         int64 // of the upload as it is stored; only of READING
}

// createImportInput is createImportJobInput with what Sesame adds.
type createImportInput struct {
	AddressListId    *string                `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Name             *string                `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9_.-]+$"`
	ImportDataFormat *importDataFormatInput `required:"true"`
	Mode             *string                `enum:"APPEND,REPLACE,REMOVE"`
	DryRun           *bool
	ClientToken      *string `length:"1..128"`
}

type exportAddressListInput struct {
	AddressListId *string `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Format        *string `enum:"CSV,JSON"`  // CSV when absent
	Compression   *string `enum:"NONE,GZIP"` // NONE when absent
}

type exportAddressListOutput struct {
	Url string // GET gives the members as they are then; for 12 hours
}

type matchAddressListInput struct {
	AddressListId *string   `required:"true" length:"1..255" pattern:"^[a-zA-Z0-9-]+$"`
	Addresses     []*string `required:"true" length:"1..1000" elementlength:"3..320" sensitive:"true"`
}

type match struct {
	Address string
	Matched bool
	Entry   *string // the member that did it
	Error   *string // why Address is not a mailbox
}

type matchAddressListOutput struct {
	Matches []match
}
