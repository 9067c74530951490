package spec

// A File is a mapping file.
type File struct {
	Version     Text        `yaml:"version" need:"yes" enum:"1" doc:"The version of this format."`
	Description Text        `yaml:"description" doc:"What the mapping is for. Nothing reads it."`
	Zone        Text        `yaml:"zone" doc:"The zone of dates and times without one, such as Asia/Shanghai. Default: the configured one (MEMBERSYNC_TIMEZONE)."`
	Envelope    Envelope    `yaml:"envelope" doc:"How the event is wrapped."`
	Identity    Identity    `yaml:"identity" need:"yes" doc:"Which event it is, and whose."`
	Tombstones  Text        `yaml:"tombstones" enum:"ignore dead_letter" doc:"What becomes of records without a value that no route decides about. Default: ignore."`
	Order       Order       `yaml:"order" need:"yes" doc:"What tells which of two events is newer."`
	States      States      `yaml:"states" doc:"Where the new and the old values stand. Required unless the envelope is debezium or debezium-flat."`
	Routes      []Route     `yaml:"routes" doc:"Which events to take, to ignore or to dead-letter. The first that matches counts; what none matches is taken."`
	Defaults    Defaults    `yaml:"defaults" doc:"What counts for each field that does not say otherwise."`
	Lookups     Map[Lookup] `yaml:"lookups" doc:"Tables that translate values, by name."`
	Fields      Map[Field]  `yaml:"fields" need:"yes" fields:"yes" doc:"The member fields of the CRM, and how each is read."`
	Personal    []Path      `yaml:"personal" doc:"Paths in the document whose values views mask even where the mapping reads them as ids, types or order."`
	Public      []Path      `yaml:"public" doc:"Paths in the document whose values views may show. All others are masked, except ids, types and order."`
	Examples    []Example   `yaml:"examples" doc:"Messages and what must come of them. membersync check runs them."`
}

// Envelope says how the event is wrapped.
type Envelope struct {
	At     Pos    `yaml:"-"`
	Kind   Text   `yaml:"kind" enum:"plain cloudevents debezium debezium-flat" doc:"The form of the event. Default: plain."`
	Unwrap []Step `yaml:"unwrap" doc:"Steps from the record's value to the event, in this order."`
	Then   []Step `yaml:"then" doc:"Further steps, after the kind has done its own: from a CloudEvent's data or a Debezium payload to the document."`
	Key    Key    `yaml:"key" doc:"What the record's key is, for paths that begin with $key. Default: text."`
	List   Path   `yaml:"list" doc:"The list of employees in the document, at most 1,000. $event alone: the document is the list."`
}

// A Step is one step of unwrapping.
type Step struct {
	Short    `short:"is"`
	At       Pos  `yaml:"-"`
	Is       Text `yaml:"is" enum:"registry text base64" doc:"registry: cut off the schema registry's framing; text: a JSON text that holds JSON; base64: a JSON text that holds JSON in base64."`
	Path     Path `yaml:"path" doc:"Go to this member."`
	Optional Flag `yaml:"optional" doc:"Stay where the step does not fit. Default: false."`
}

// A Key says what the record's key is.
type Key struct {
	Short  `short:"as"`
	At     Pos    `yaml:"-"`
	As     Text   `yaml:"as" enum:"text json" doc:"text: $key is the key as it is; json: $key.NAME is a member of it."`
	Unwrap []Step `yaml:"unwrap" doc:"Steps from the key to the JSON value."`
}

// Identity says which event it is, and whose.
type Identity struct {
	At         Pos    `yaml:"-"`
	EventID    Source `yaml:"event_id" need:"yes" doc:"The event's id, or {record: true}: topic, partition, offset and timestamp of the record."`
	EmployeeID Source `yaml:"employee_id" need:"yes" doc:"The employee's id in the HR system: the subject, not who made the change."`
	OpenUserID Source `yaml:"open_user_id" need:"yes" doc:"The member's id in the CRM, often by a lookup from the employee's."`
	Type       Path   `yaml:"type" doc:"The event's type, for the condition type."`
	Op         Path   `yaml:"op" doc:"The operation, for the condition op. Default for debezium: op."`
}

// A Source says where an id comes from.
type Source struct {
	Short     `short:"from"`
	At        Pos    `yaml:"-"`
	From      []Path `yaml:"from" doc:"A path, or several: the first that is there and is not null."`
	Concat    []Path `yaml:"concat" doc:"Paths whose values are put together; all must be there."`
	Separator Text   `yaml:"separator" doc:"What stands between the parts of concat. Default: nothing."`
	Record    Flag   `yaml:"record" doc:"Only for event_id: the record's topic, partition, offset and timestamp."`
	Lookup    Text   `yaml:"lookup" doc:"Only for open_user_id: the lookup that translates the value."`
}

// Dates says how a time is written.
type Dates struct {
	Formats []Text `yaml:"formats" enum:"rfc3339 offset local date compact slash chinese odata" doc:"How texts are written, tried in this order. Default: rfc3339, offset, local and date."`
	Unit    Text   `yaml:"unit" enum:"s ms us ns days" doc:"What numbers count since 1970, and texts of digits. Without it they are refused."`
	Layout  []Text `yaml:"layout" doc:"Further forms of texts, as Go reference times, such as 02.01.2006; tried after formats, or alone if only layout is given."`
	Zone    Text   `yaml:"zone" doc:"The zone of what is written without one. Default: that of the file."`
	Wall    Flag   `yaml:"wall" doc:"Numbers count wall-clock time, as if it were UTC; it is read in the zone. Default: false."`
}

// Order says what tells which of two events is newer.
type Order struct {
	At    Pos    `yaml:"-"`
	Kind  Text   `yaml:"kind" need:"yes" enum:"sequence time none" doc:"sequence: a number that grows; time: the time of the change; none: the record's timestamp."`
	From  []Path `yaml:"from" doc:"Where it stands: a path, or several: the first that is there and is not null."`
	Epoch Number `yaml:"epoch" doc:"Raised by one whenever the kind or the source of the order changes. Default: 0."`
	Dates
}

// States says where the new and the old values stand.
type States struct {
	At          Pos     `yaml:"-"`
	After       Path    `yaml:"after" doc:"The object with the new values."`
	Before      Path    `yaml:"before" doc:"The object with the old values."`
	BeforeHolds Text    `yaml:"before_holds" enum:"all changed" doc:"changed: before holds only the fields that changed, and all others are unchanged. Default: all."`
	Text        Flag    `yaml:"text" doc:"Before and after are JSON texts that hold JSON. Default: false."`
	NoValues    Text    `yaml:"no_values" enum:"needs_fetch invalid_event" doc:"The reason of an event without after. Default: needs_fetch."`
	Changed     Changed `yaml:"changed" doc:"A list of the names of the fields that changed; all others are unchanged."`
	Absent      Text    `yaml:"absent" enum:"unchanged clear" doc:"What it means that after lacks a field. clear: after is the whole record, and what it lacks is cleared where the field allows. Default: unchanged."`
	Removed     Path    `yaml:"removed" doc:"A list of the names of the fields that were removed. Default for debezium: MongoDB's updateDescription.removedFields."`
	Pairs       *Pairs  `yaml:"pairs" doc:"Old and new values side by side, in place of after and before."`
}

// Changed is a list of names of fields.
type Changed struct {
	Short `short:"from"`
	At    Pos  `yaml:"-"`
	From  Path `yaml:"from" doc:"Where the list stands."`
	Split Text `yaml:"split" doc:"The list is a text with this between the names."`
	Name  Path `yaml:"name" doc:"The entries are objects, and the name stands here in each."`

	EmptyList Text `yaml:"empty_list" enum:"all none" doc:"What a list or a text without names means: that all fields may have changed, or that none has. Default: none of an empty list, all for debezium-flat; an empty text is invalid_event."`
}

// Pairs says where old and new values stand side by side.
type Pairs struct {
	At      Pos    `yaml:"-"`
	From    Path   `yaml:"from" need:"yes" doc:"A list of changes, or an object with one for each field."`
	Name    Path   `yaml:"name" doc:"In each entry of a list: the name of the field."`
	Objects Flag   `yaml:"objects" doc:"It is a list of objects, each with a change for each of its members. Default: false."`
	Old     Path   `yaml:"old" doc:"In each entry: the old value."`
	New     Path   `yaml:"new" need:"yes" doc:"In each entry: the new value."`
	Bare    Flag   `yaml:"bare" doc:"An entry of another form is the new value itself. Default: false."`
	Op      Path   `yaml:"op" doc:"In each entry: what was done."`
	Remove  []Text `yaml:"remove" doc:"The values of op that mean null."`
}

// A Route says what becomes of events.
type Route struct {
	At   Pos       `yaml:"-"`
	Name Text      `yaml:"name" need:"yes" doc:"Shown as the reason."`
	When Condition `yaml:"when" need:"yes" doc:"Which events."`
	Do   Text      `yaml:"do" need:"yes" enum:"take ignore dead_letter needs_fetch" doc:"take: map it; ignore: done with it; dead_letter: with the reason routed; needs_fetch: with that reason, since it carries no values."`
}

// A Condition is true or false of an event. All that it names must hold.
type Condition struct {
	At      Pos         `yaml:"-"`
	And     []Condition `yaml:"and" doc:"All of these hold."`
	Or      []Condition `yaml:"or" doc:"One of these holds."`
	Not     *Condition  `yaml:"not" doc:"This does not hold."`
	Type    []Text      `yaml:"type" doc:"The event's type is this, or one of these."`
	Op      []Text      `yaml:"op" doc:"The operation is this, or one of these."`
	JQ      *Program    `yaml:"jq" doc:"A jq program over $item gives anything but null and false."`
	Path    Path        `yaml:"path" doc:"The value that the following keys look at."`
	Exists  Flag        `yaml:"exists" doc:"It is there and is not null, or not so."`
	Equals  Scalar      `yaml:"equals" doc:"It is this. 100 and \"100\" are the same."`
	In      []Scalar    `yaml:"in" doc:"It is one of these."`
	Prefix  Text        `yaml:"prefix" doc:"It is a text that begins so."`
	Less    Scalar      `yaml:"less" doc:"It is a number below this one."`
	AtMost  Scalar      `yaml:"at_most" doc:"It is a number that is not above this one."`
	Greater Scalar      `yaml:"greater" doc:"It is a number above this one."`
	AtLeast Scalar      `yaml:"at_least" doc:"It is a number that is not below this one."`
	Future  Flag        `yaml:"future" doc:"It is a time after the record's timestamp, or not so."`
	Dates
}

// Defaults count for each field that does not say otherwise.
type Defaults struct {
	At      Pos  `yaml:"-"`
	Null    Text `yaml:"null" enum:"clear ignore reject" doc:"What null means. Default: reject."`
	Empty   Text `yaml:"empty" enum:"clear ignore reject" doc:"What an empty value means. Default: reject."`
	Missing Text `yaml:"missing" enum:"clear ignore reject" doc:"What a field means that is absent while before has a value. Default: ignore."`
	Trim    Flag `yaml:"trim" doc:"White space around texts is cut off. Default: false."`
	Form    Text `yaml:"form" enum:"none nfc nfkc" doc:"The Unicode form of texts. Default: none."`
}

// A Lookup is a table that translates values. It has exactly one of table, file and redis.
type Lookup struct {
	At    Pos         `yaml:"-"`
	Table Map[Scalar] `yaml:"table" doc:"The table itself."`
	File  Text        `yaml:"file" doc:"A CSV file with a header line, reloaded when it changes."`
	Key   Text        `yaml:"key" doc:"The column of the file that is looked in. Default: the first."`
	Value Text        `yaml:"value" doc:"The column of the file that is the result. Default: the second."`
	Redis Text        `yaml:"redis" doc:"The name of a hash in Redis."`
	Fold  Text        `yaml:"fold" enum:"lower none" doc:"lower: upper and lower case do not count in keys. Keys in Redis are lower case then. Default: none."`
}

// A Field says how one member field is read.
type Field struct {
	Short     `short:"from"`
	At        Pos      `yaml:"-"`
	From      []Path   `yaml:"from" doc:"A path in after and before, or several: the first that is there and is not null."`
	Concat    []Path   `yaml:"concat" doc:"Paths whose values are put together. Null and empty parts are left out."`
	Separator Text     `yaml:"separator" doc:"What stands between the parts of concat. Default: nothing."`
	Const     []Scalar `yaml:"const" doc:"Always this value; for attachingDepartmentIds a list."`
	JQ        *Program `yaml:"jq" doc:"A jq program over the value, before it is read. Without from, it is over after and before."`
	As        Text     `yaml:"as" enum:"text phone gender date int ints" doc:"How the value is read. Default: by the field: text, gender, date, int or ints."`
	Trim      Flag     `yaml:"trim" doc:"White space around it is cut off. Default: that of defaults."`
	Form      Text     `yaml:"form" enum:"none nfc nfkc" doc:"The Unicode form of the text. Default: that of defaults."`
	Numbers   Flag     `yaml:"numbers" doc:"A number may stand in place of a text. Default: false, since a number cannot show leading zeros."`
	Masked    Text     `yaml:"masked" enum:"reject allow" doc:"What becomes of texts with asterisks. Default: allow; of mobile and phones: always reject."`
	Country   Text     `yaml:"country" doc:"Of phones: the country code that is cut off, such as 86."`
	Male      []Text   `yaml:"male" doc:"What means M. Default: M, m, male, 1, 男 and the like."`
	Female    []Text   `yaml:"female" doc:"What means F. Default: F, f, female, 2, 女 and the like."`
	Unknown   Text     `yaml:"unknown" enum:"ignore reject" doc:"What becomes of a gender that is neither. Default: reject."`
	Dates
	NoEnd     Flag        `yaml:"no_end" doc:"9999-12-31 counts as empty. Default: false."`
	Split     Text        `yaml:"split" doc:"The value is a text with this between the entries."`
	Each      Path        `yaml:"each" doc:"The entries are objects, and the value stands here in each."`
	Table     Map[Scalar] `yaml:"table" doc:"Translates the value, as a lookup of its own."`
	Lookup    Text        `yaml:"lookup" doc:"The lookup that translates the value, or each entry of it."`
	Miss      Text        `yaml:"miss" enum:"reject ignore" doc:"What becomes of a value that the lookup or table lacks. Default: reject (unresolved_reference)."`
	AlsoEmpty []Scalar    `yaml:"also_empty" doc:"Values that count as empty, as do \"\" and [], such as 0 or \"-\"."`
	Null      Text        `yaml:"null" enum:"clear ignore reject" doc:"What null means. Default: that of defaults."`
	Empty     Text        `yaml:"empty" enum:"clear ignore reject" doc:"What an empty value means. Default: that of defaults."`
	Missing   Text        `yaml:"missing" enum:"clear ignore reject" doc:"What it means to be absent while before has a value. Default: that of defaults."`
	Clear     Clear       `yaml:"clear" doc:"How a clear is sent. Default: \"\" for position, email, qq and weixin, [] for attachingDepartmentIds, else refused."`
	ChangedAs []Text      `yaml:"changed_as" doc:"Its names in the list of changed fields. Default: the path, and its first name."`
}

// An Example is a message and what must come of it.
type Example struct {
	At        Pos            `yaml:"-"`
	Name      Text           `yaml:"name" need:"yes" doc:"What it shows."`
	Value     Text           `yaml:"value" doc:"The record's value as text, best written as a block."`
	Base64    Text           `yaml:"base64" doc:"The record's value in base64."`
	NoValue   Flag           `yaml:"no_value" doc:"The record has no value. Default: false."`
	Key       Text           `yaml:"key" doc:"The record's key."`
	Headers   Map[Text]      `yaml:"headers" doc:"The record's headers."`
	Timestamp Text           `yaml:"timestamp" doc:"The record's timestamp. Default: 2026-01-01T00:00:00Z."`
	Lookups   Map[Map[Text]] `yaml:"lookups" doc:"What lookups hold for this example."`
	Out       []Expected     `yaml:"out" need:"yes" doc:"What must come of it, one for each employee in the record."`
}

// Expected is what must come of one employee's part of an example.
type Expected struct {
	At         Pos  `yaml:"-"`
	Outcome    Text `yaml:"outcome" need:"yes" enum:"update unchanged ignored rejected" doc:"What becomes of it."`
	Reason     Text `yaml:"reason" doc:"Of ignored and rejected: the reason."`
	Path       Text `yaml:"path" doc:"Of rejected: the place."`
	Error      Text `yaml:"error" doc:"Of rejected: a part of the error."`
	EventID    Text `yaml:"event_id" doc:"The event's id."`
	EmployeeID Text `yaml:"employee_id" doc:"The employee's id."`
	Order      Text `yaml:"order" doc:"The order value, in digits."`
	User       Raw  `yaml:"user" doc:"Of update: the user object, complete."`
}
