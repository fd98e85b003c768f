package generate

import "strings"

// A provider is how one mailbox provider, and the people with it, treat mail. The
// numbers are shares of messages (0 to 1) unless they say otherwise.
type provider struct {
	name    string   // as the table of package events has it
	share   int      // of all people, in thousandths
	domains []string // the first has three in four people
	mx      string   // what it calls its mail server
	address string   // the first two bytes of its servers' IP addresses

	seconds  float64 // until it takes a message, the median
	dead     float64 // people whose mailbox is gone
	soft     float64 // refused for another reason
	delayed  float64 // put off at first
	complain float64 // of what is delivered; 0 for who runs no feedback loop
	open     float64 // of what is delivered and tracked
	click    float64 // the same

	proxy   string // user agent that fetches images for its people; "" for none
	accepts string // its answers; see fill
	gone    string
	refuses string
	defers  string
	delay   string // SES's delayType for that
}

// unknown is the last provider: its domains are made up, and events.UnknownISP.
var providers = []provider{
	{name: "Gmail", share: 400, domains: []string{"gmail.com", "googlemail.com"}, mx: "gmail-smtp-in.l.google.com", address: "142.250",
		seconds: 1.1, dead: 0.006, soft: 0.004, delayed: 0.008, open: 0.30, click: 0.032,
		proxy:   "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
		accepts: "250 2.0.0 OK  %t %x-%x.%n - gsmtp",
		gone:    "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try\\n550-5.1.1 double-checking the recipient's email address for typos or\\n550-5.1.1 unnecessary spaces. For more information, go to\\n550 5.1.1  https://support.google.com/mail/?p=NoSuchUser %x-%x.%n - gsmtp",
		refuses: "smtp; 552-5.2.2 The recipient's inbox is out of storage space and inactive. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaPerm %x-%x.%n - gsmtp",
		defers:  "smtp; 421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address. %x-%x.%n - gsmtp", delay: "SpamDetected"},
	{name: "Outlook", share: 170, domains: []string{"outlook.com", "hotmail.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr"}, mx: "outlook-com.olc.protection.outlook.com", address: "52.101",
		seconds: 2.6, dead: 0.010, soft: 0.006, delayed: 0.020, complain: 0.0011, open: 0.20, click: 0.026,
		accepts: "250 2.6.0 <%m@email.amazonses.com> [InternalId=%n%n, Hostname=%X.namprd02.prod.outlook.com] 19521 bytes in 0.113, 167.552 KB/sec Queued mail for delivery -> 250 2.1.5",
		gone:    "smtp; 550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [%X.prod.protection.outlook.com]",
		refuses: "smtp; 550 5.7.1 Unfortunately, messages from [%o] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150). [%X.prod.protection.outlook.com]",
		defers:  "smtp; 451 4.7.500 Server busy. Please try again later from [%o]. (AS77712%n) [%X.prod.protection.outlook.com]", delay: "RecipientServerError"},
	{name: "Yahoo", share: 100, domains: []string{"yahoo.com", "ymail.com", "yahoo.co.uk", "yahoo.fr", "rocketmail.com"}, mx: "mta5.am0.yahoodns.net", address: "67.195",
		seconds: 3.2, dead: 0.012, soft: 0.005, delayed: 0.045, complain: 0.0014, open: 0.24, click: 0.024,
		proxy:   "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
		accepts: "250 ok dirdel",
		gone:    "smtp; 554 delivery error: dd This user doesn't have a yahoo.com account (%a) [0] - mta%n.mail.ne1.yahoo.com",
		refuses: "smtp; 554 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit https://postmaster.yahooinc.com/error-codes",
		defers:  "smtp; 421 4.7.0 [TSS04] Messages from %o temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes", delay: "IPFailure"},
	{name: "Apple", share: 80, domains: []string{"icloud.com", "me.com", "mac.com"}, mx: "mx01.mail.icloud.com", address: "17.57",
		seconds: 1.8, dead: 0.007, soft: 0.005, delayed: 0.006, open: 0.42, click: 0.028,
		proxy:   "Mozilla/5.0",
		accepts: "250 2.0.0 Ok: queued as %X",
		gone:    "smtp; 550 5.1.1 <%a>: user does not exist",
		refuses: "smtp; 552 5.2.2 <%a>: user is over quota",
		defers:  "smtp; 451 4.7.1 Service unavailable - try again later", delay: "General"},
	{name: "AOL", share: 20, domains: []string{"aol.com", "aim.com"}, mx: "mx-aol.mail.gm0.yahoodns.net", address: "67.195",
		seconds: 3.4, dead: 0.014, soft: 0.006, delayed: 0.040, complain: 0.0021, open: 0.28, click: 0.022,
		accepts: "250 ok dirdel",
		gone:    "smtp; 554 delivery error: dd This user doesn't have a aol.com account (%a) [0] - mta%n.mail.gq1.yahoo.com",
		refuses: "smtp; 554 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit https://postmaster.yahooinc.com/error-codes",
		defers:  "smtp; 421 4.7.0 [TSS04] Messages from %o temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes", delay: "IPFailure"},
	{name: "Comcast", share: 15, domains: []string{"comcast.net", "xfinity.com"}, mx: "mx1.comcast.net", address: "96.102",
		seconds: 2.4, dead: 0.011, soft: 0.005, delayed: 0.015, complain: 0.0017, open: 0.27, click: 0.025,
		accepts: "250 2.0.0 %x mail accepted for delivery",
		gone:    "smtp; 550 5.1.1 <%a> recipient does not exist here",
		refuses: "smtp; 552 5.2.2 <%a> recipient mailbox is full",
		defers:  "smtp; 421 4.1.0 %o Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000003", delay: "IPFailure"},
	{name: "GMX", share: 25, domains: []string{"gmx.de", "gmx.net", "gmx.at"}, mx: "mx00.emig.gmx.net", address: "212.227",
		seconds: 1.6, dead: 0.009, soft: 0.004, delayed: 0.012, open: 0.26, click: 0.028,
		accepts: "250 Requested mail action okay, completed: id=%x-%x",
		gone:    "smtp; 550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net/en/case?c=r0401&i=ip&v=%o&r=%x",
		refuses: "smtp; 552 Requested mail action aborted: exceeded storage allocation For explanation visit https://postmaster.gmx.net/en/case?c=r0403",
		defers:  "smtp; 450 Requested mail action not taken: mailbox unavailable. Grey listing, please try again later", delay: "General"},
	{name: "WebDe", share: 25, domains: []string{"web.de"}, mx: "mx-ha02.web.de", address: "212.227",
		seconds: 1.6, dead: 0.009, soft: 0.005, delayed: 0.012, open: 0.25, click: 0.027,
		accepts: "250 Requested mail action okay, completed: id=%x-%x",
		gone:    "smtp; 550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.web.de/de/case?c=r0401&i=ip&v=%o&r=%x",
		refuses: "smtp; 552 Requested mail action aborted: exceeded storage allocation For explanation visit https://postmaster.web.de/de/case?c=r0403",
		defers:  "smtp; 450 Requested mail action not taken: mailbox unavailable. Grey listing, please try again later", delay: "General"},
	{name: "MailRu", share: 15, domains: []string{"mail.ru", "inbox.ru", "bk.ru", "list.ru"}, mx: "mxs.mail.ru", address: "217.69",
		seconds: 2.1, dead: 0.016, soft: 0.007, delayed: 0.018, complain: 0.0018, open: 0.18, click: 0.015,
		accepts: "250 OK id=%x-%x-%x",
		gone:    "smtp; 550 Message was not accepted -- invalid mailbox.  Local mailbox %a is unavailable: user not found",
		refuses: "smtp; 550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=%x",
		defers:  "smtp; 451 Try again later. Please visit http://help.mail.ru/mail-help/rules/technical", delay: "General"},
	{name: "QQ", share: 12, domains: []string{"qq.com", "foxmail.com"}, mx: "mx3.qq.com", address: "203.205",
		seconds: 3.9, dead: 0.020, soft: 0.012, delayed: 0.030, open: 0.12, click: 0.010,
		accepts: "250 OK: queued as.",
		gone:    "smtp; 550 The recipient may contain a non-existent account, please check the recipient address [%x IP: %o]. https://service.mail.qq.com/detail/122/92",
		refuses: "smtp; 550 Message content detected as spam [%x IP: %o]. https://service.mail.qq.com/detail/122/66",
		defers:  "smtp; 450 Too many mails from your IP %o, please try later [%x]", delay: "IPFailure"},
	{name: "NetEase", share: 10, domains: []string{"163.com", "126.com"}, mx: "163mx02.mxmail.netease.com", address: "103.129",
		seconds: 4.4, dead: 0.022, soft: 0.012, delayed: 0.030, open: 0.11, click: 0.009,
		accepts: "250 Mail OK queued as gzga-mx-mta-g2-%n,%x",
		gone:    "smtp; 550 User not found: %a",
		refuses: "smtp; 554 DT:SPM 163 mx%n,%x Please see http://mail.163.com/help/help_spam_16.htm?ip=%o",
		defers:  "smtp; 451 DT:SPM 163 mx%n,%x please try again Please see http://mail.163.com/help/help_spam_16.htm", delay: "SpamDetected"},
	{name: "Proton", share: 10, domains: []string{"proton.me", "protonmail.com"}, mx: "mail.protonmail.ch", address: "185.70",
		seconds: 1.9, dead: 0.004, soft: 0.003, delayed: 0.006, open: 0.16, click: 0.020,
		accepts: "250 2.0.0 Ok: %n bytes queued as %X",
		gone:    "smtp; 550 5.1.1 <%a>: Recipient address rejected: Address does not exist",
		refuses: "smtp; 552 5.2.2 <%a>: Recipient address rejected: Account is over quota",
		defers:  "smtp; 450 4.7.1 <%a>: Recipient address rejected: Greylisted", delay: "General"},
	{name: "UNKNOWN_ISP", share: 118, mx: "mx1.%d", address: "198.51",
		seconds: 2.2, dead: 0.018, soft: 0.010, delayed: 0.022, open: 0.29, click: 0.036,
		accepts: "250 2.0.0 Ok: queued as %X",
		gone:    "smtp; 550 5.1.1 <%a>: Recipient address rejected: User unknown in virtual mailbox table",
		refuses: "smtp; 554 5.7.1 Service unavailable; Client host [%o] blocked using zen.spamhaus.org",
		defers:  "smtp; 450 4.2.0 <%a>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/%d.html", delay: "General"},
}

// A sender is one kind of mail of one identity.
type sender struct {
	share            int // of all messages, in thousandths
	kind             string
	name, address    string
	identity         string
	configurationSet string
	from             string // domain
	operation, user  string
	tags             string // JSON members
	campaign         int    // days that one campaign lasts; 0 when each message is its own occasion
	list             bool   // one can unsubscribe
	tracked          bool   // opens and clicks are

	open, click, complain float64 // how much likelier than with a provider's average mail
	subjects              []string
}

// %c stands for the campaign's number, %n for one of the message's own.
var senders = []sender{
	{share: 380, kind: "newsletter", name: "Harbour Shop", address: "news@news.harbour-shop.example", identity: "news.harbour-shop.example", from: "news.harbour-shop.example",
		configurationSet: "marketing", operation: "SendBulkEmail", user: "shop-campaigns", tags: `"team":["growth"]`, campaign: 7, list: true, tracked: true, open: 0.95, click: 1, complain: 1,
		subjects: []string{"This week at the harbour: lanterns, rope and good coffee", "No. %c: what the tide brought in", "Your Sunday read from Harbour Shop (%c)", "New arrivals, and a recipe for fish soup",
			"Five things to do before the season ends", "Made by hand: the makers of issue %c"}},
	{share: 170, kind: "offer", name: "Harbour Shop", address: "offers@news.harbour-shop.example", identity: "news.harbour-shop.example", from: "news.harbour-shop.example",
		configurationSet: "marketing", operation: "SendBulkEmail", user: "shop-campaigns", tags: `"team":["growth"]`, campaign: 2, list: true, tracked: true, open: 0.75, click: 1.25, complain: 1.8,
		subjects: []string{"20% off everything for the kitchen, today only", "Last chance: your code TIDE%c ends tonight", "We kept these for you \u2013 up to half price", "A gift with every order this weekend", "Prices drop at noon"}},
	{share: 200, kind: "order", name: "Harbour Shop", address: "orders@harbour-shop.example", identity: "harbour-shop.example", from: "harbour-shop.example",
		configurationSet: "transactional", operation: "SendTemplatedEmail", user: "shop-orders", tags: `"team":["orders"],"template":["order-v4"]`, tracked: true, open: 1.7, click: 1.4, complain: 0.15,
		subjects: []string{"Your order %n has shipped", "We have received your order %n", "Order %n: out for delivery today", "Your invoice %n", "How was order %n? Tell us in a minute"}},
	{share: 120, kind: "account", name: "Harbour Shop", address: "no-reply@harbour-shop.example", identity: "harbour-shop.example", from: "harbour-shop.example",
		configurationSet: "transactional", operation: "SendEmail", user: "shop-accounts", tags: `"team":["accounts"]`, tracked: true, open: 1.8, click: 0.9, complain: 0.1,
		subjects: []string{"Your sign-in code", "Confirm your new email address", "Reset your password", "New sign-in from a device we do not know", "Welcome aboard"}},
	{share: 80, kind: "digest", name: "Riverbank Daily", address: "digest@mail.riverbank.example", identity: "mail.riverbank.example", from: "mail.riverbank.example",
		configurationSet: "lifecycle", operation: "SendBulkEmail", user: "riverbank-digest", tags: `"edition":["morning"]`, campaign: 1, list: true, tracked: true, open: 1.2, click: 1.1, complain: 0.7,
		subjects: []string{"Riverbank Daily %c: the morning in four minutes", "Riverbank Daily %c: what the council decided", "Riverbank Daily %c: rain until Thursday"}},
	{share: 50, kind: "alert", name: "Tidewater Monitoring", address: "alerts@tidewater.example", identity: "alerts@tidewater.example", from: "tidewater.example",
		configurationSet: "alerts", operation: "SendRawEmail", user: "ses-smtp-user.20240611-101544", tags: `"severity":["warning"]`, complain: 0.1,
		subjects: []string{"[WARNING] Water level at station %n is above 2.40 m", "[RESOLVED] Station %n reports again", "[CRITICAL] Pump %n has stopped"}},
}

// hours and days are how much is sent, by hour of the day and day of the week
// (Sunday first), UTC, beside the average.
var (
	hours = [24]float64{0.35, 0.30, 0.25, 0.22, 0.25, 0.40, 0.75, 1.10, 1.35, 1.45, 1.40, 1.35, 1.40, 1.65, 1.80, 1.75, 1.60, 1.45, 1.30, 1.15, 0.95, 0.75, 0.60, 0.45}
	days  = [7]float64{0.60, 1.05, 1.20, 1.15, 1.15, 1.00, 0.65}
)

// Shares of messages or of what follows from them.
const (
	several      = 0.005  // messages to two or three people
	simulated    = 0.001  // messages to SES's mailbox simulator
	rejected     = 0.0003 // messages that SES finds a virus in
	notRendered  = 0.0015 // messages of a template that does not fit their data
	undetermined = 0.0003 // bounces that SES cannot read
	givenUp      = 0.06   // delayed messages that are never taken
	suppressed   = 0.6    // bounces of people whose mailbox is gone by which SES spares itself the try
	strangers    = 0.35   // people who never open anything
	again        = 0.32   // opens that are followed by another
	clickAgain   = 0.28   // clicks that are followed by another
	scanned      = 0.015  // messages to providers of no name whose links a scanner follows
	unsubscribes = 0.012  // opens of list mail that end so
	delayedAgain = 0.45   // delays that are followed by another
	duplicate    = 0.004  // records that come twice
	late         = 0.01   // records that come minutes to hours late
	fromApps     = 0.30   // opens by a reader without the provider's proxy
)

// people are what addresses are made of.
var (
	firsts = strings.Fields("anna ben carla david elena farid greta henrik ines jonas katya luis maria nils olga pedro qiang rosa samuel tariq uma viktor " +
		"wendy xenia yusuf zoe alexander fatima ian isabella jo kim leo max margarethe mia ned priya")
	lasts = strings.Fields("abe berg costa diaz ek ferrari garcia haas ito jansen khan lind moreau ng okafor petrov quist rossi schmidt tan ueda varga wu xu " +
		"yilmaz zhou bhattacharya fox gonzalez hill kowalski lee lopez papadopoulos ray singh")
	trades = strings.Fields("art bakery books boats cars clay dental design farm films fish garden gifts glass hotel law mill music paper parts photo print " +
		"schools shoes tea tours toys travel wine wood")
	places = strings.Fields("bay brook cliff creek dale east field ford gate glen grove harbour hill isle lake marsh moor north oak park pine port ridge river " +
		"shore south stone vale west wood")
)

// userAgents are people's own.
var userAgents = []string{
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Linux; Android 15; SM-S921B Build/AP3A.240905.015.A2; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/137.0.7151.115 Mobile Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.11.1",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)",
	"Outlook-iOS/739.2518.1 (iPhone; iOS 18.5)",
}

const scannerAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.5414.120 Safari/537.36"

// links are behind the sender's domain.
var links = []string{
	"/new?utm_source=ses&utm_medium=email&utm_campaign=%k", "/sale?utm_source=ses&utm_medium=email&utm_campaign=%k",
	"/journal/fish-soup?utm_source=ses&utm_medium=email&utm_campaign=%k", "/account/orders/%n", "/", "/help/contact",
	"/makers/%c?utm_source=ses&utm_medium=email&utm_campaign=%k",
}
