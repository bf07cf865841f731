package sanitize

import (
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// DefaultPolicy is used when a request names none.
const DefaultPolicy = "nist-800-88r2"

// ismSmall is the size below which ISM-0354 asks for three passes on magnetic media.
const ismSmall = 15_000_000_000

// Policies lists the built-in policies. Two techniques that fail in different ways come before
// either alone, a drive's own commands before what a host can do; a technique that reaches purge
// clears as well. What each cell rests on is in docs/policies.md.
//
// SP 800-88r2 leaves the decision by category to the organization (4.3); both NIST policies use the
// outcomes of r1's figure 4-1, in which media that are not used again are destroyed. Here
// "decommission" means leaving the owner's control while the drive stays usable, so it asks for
// purge, and for destroy where the figure allows nothing less. Under the Australian ISM media of the
// highest category keep their classification when they are overwritten (ISM-0356, 0360), so that
// they can be used again and cannot leave.
func Policies() []Policy {
	required := map[Category]map[Disposition]Method{
		Low:      {Reuse: Clear, Decommission: Purge},
		Moderate: {Reuse: Clear, Decommission: Purge},
		High:     {Reuse: Purge, Decommission: Destroy},
	}
	sampled := map[Method]VerifyMode{Clear: VerifySampled, Purge: VerifySampled}
	full := map[Method]VerifyMode{Clear: VerifyFull}
	overwriting := []Technique{HostOverwrite}
	secureErase := []devices.Reason{{Code: "ism_1067",
		Message: "the growth defect table: ISM-1067 asks for an ATA secure erase in addition, which is a job of its own (--technique security-erase under another policy)"}}
	return []Policy{
		{Name: DefaultPolicy, Standard: "NIST SP 800-88r2, IEEE 2883-2022", Verify: sampled, Required: required, Rows: []Row{
			{Media: devices.MediaMagnetic,
				Purge: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, SecurityErase, CryptographicFormat, Format, HostOverwrite)},
			// What these can do themselves is not sent by this program.
			{Bus: devices.ProtocolMMC, Purge: []Technique{}, Clear: overwriting},
			{Bus: devices.ProtocolUFS, Purge: []Technique{}, Clear: overwriting},
			{Bus: devices.ProtocolNVDIMM, Purge: []Technique{}, Clear: overwriting},
			// On flash readings of the standard differ about an enhanced security erase.
			{Purge: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, SecurityErase, CryptographicFormat, Format, HostOverwrite)},
		}},
		{Name: "nist-800-88r1", Standard: "NIST SP 800-88r1", Verify: sampled, Required: required, Rows: []Row{
			{Media: devices.MediaMagnetic, // table A-5
				Purge: words(CryptoThenBlock, CryptographicErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase),
				Clear: words(CryptoThenBlock, CryptographicErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, BlockErase, SecurityErase, CryptographicFormat, Format, HostOverwrite)},
			{Media: devices.MediaFlash, Bus: devices.ProtocolNVMe, // a format that erases, in either way, is all that r1 knows of NVMe
				Purge: words(CryptoThenBlock, CryptographicErase, BlockErase, TCGRevert, CryptographicFormat, Format),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, TCGRevert, CryptographicFormat, Format, DriveOverwrite, HostOverwrite)},
			{Bus: devices.ProtocolMMC, Scheme: "nist-800-88r1-flash", // memory cards, and flash on boards
				Purge: []Technique{}, Clear: overwriting},
			{Bus: devices.ProtocolUFS, Scheme: "nist-800-88r1-flash", Purge: []Technique{}, Clear: overwriting}, // flash on boards, and younger than r1
			{Bus: devices.ProtocolNVDIMM, Purge: []Technique{}, Clear: overwriting},                             // of which r1 knows nothing
			{Media: devices.MediaUnknown, Bus: devices.ProtocolSCSI, Scheme: "nist-800-88r1-flash", // a USB stick, as far as can be told
				Purge: words(CryptoThenBlock, CryptographicErase, TCGRevert),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, Format, HostOverwrite)},
			{Media: devices.MediaFlash, // table A-8
				Purge: words(CryptoThenBlock, CryptographicErase, BlockErase, TCGRevert),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, SecurityErase, Format, HostOverwrite)},
			{Purge: words(CryptoThenBlock, CryptographicErase, TCGRevert),
				Clear: words(CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, EnhancedSecurityErase, SecurityErase, CryptographicFormat, Format, HostOverwrite)},
		}},
		{Name: "aus-ism", Standard: "Australian Government Information Security Manual", Verify: full, AtLeast: full,
			Required: map[Category]map[Disposition]Method{
				Low: {Reuse: Clear, Decommission: Clear}, Moderate: {Reuse: Clear, Decommission: Clear}, High: {Reuse: Clear, Decommission: Destroy},
			},
			Rows: []Row{
				{Media: devices.MediaMagnetic, Bus: devices.ProtocolATA, BelowBytes: ismSmall, Scheme: "ism-magnetic-small", Purge: []Technique{}, Clear: overwriting, Beside: secureErase},
				{Media: devices.MediaMagnetic, Bus: devices.ProtocolATA, Scheme: "ism-magnetic", Purge: []Technique{}, Clear: overwriting, Beside: secureErase},
				{Media: devices.MediaMagnetic, BelowBytes: ismSmall, Scheme: "ism-magnetic-small", Purge: []Technique{}, Clear: overwriting},
				{Media: devices.MediaMagnetic, Scheme: "ism-magnetic", Purge: []Technique{}, Clear: overwriting},
				{Media: devices.MediaFlash, Scheme: "ism-flash", Purge: []Technique{}, Clear: overwriting},
				// What does not say what it is gets what is enough for either.
				{BelowBytes: ismSmall, Scheme: "ism-magnetic-small", Purge: []Technique{}, Clear: overwriting},
				{Scheme: "ism-flash", Purge: []Technique{}, Clear: overwriting},
			}},
	}
}

func words(list ...Technique) []Technique { return list }

// carriedOut says whether this program carries the technique out at all.
func carriedOut(t Technique) bool { return Policies()[0].Rows[0].level(t) != "" }

// acceptance is a reading of a standard that only a site can decide on.
type acceptance struct {
	name, base string
	technique  Technique
	media      devices.Media
	bus        devices.Protocol
	words      string
}

// acceptances lists what a policy file may accept, by name.
var acceptances = []acceptance{
	{"format-crypto-is-purge", DefaultPolicy, CryptographicFormat, devices.MediaFlash, devices.ProtocolNVMe,
		"that a format with cryptographic erase reaches purge on NVMe drives (IEEE 2883-2022 says so only where the manufacturer meets the conditions of cryptographic erase)"},
	{"enhanced-erase-of-flash-is-purge", DefaultPolicy, EnhancedSecurityErase, devices.MediaFlash, devices.ProtocolATA,
		"that an enhanced security erase reaches purge on flash (readings of IEEE 2883-2022 differ; NIST SP 800-88r1 says clear)"},
}

// Word is the technique as people write it on a command line and in a policy file.
func (t Technique) Word() string {
	switch t {
	case CryptoThenBlock:
		return "crypto+block"
	case CryptographicErase:
		return "crypto"
	case BlockErase:
		return "block"
	case CryptographicFormat:
		return "format-crypto"
	}
	return strings.ReplaceAll(strings.ToLower(string(t)), " ", "-")
}
