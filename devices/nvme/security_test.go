package nvme

import "testing"

// NVMe base 2.0, 5.25, 5.26: SECP in bits 31:24, SPSP in 23:8, the length in bytes in CDW11.
func TestSecurity(t *testing.T) {
	s := Security{Protocol: 1, Specific: 0x07fe, Data: make([]byte, 1024), Timeout: 1}
	if c := s.Command(); c.Queue != Admin || c.Opcode != 0x81 || c.NSID != 0 || c.CDW10 != 0x0107fe00 || c.CDW11 != 1024 || c.CDW12 != 0 || len(c.Data) != 1024 || c.Timeout != 1 {
		t.Errorf("%+v", c)
	}
	s.Receive, s.Protocol, s.Specific = true, 0xff, 0xffff
	if c := s.Command(); c.Opcode != 0x82 || c.CDW10 != 0xffffff00 {
		t.Errorf("%+v", c)
	}
	if !(Controller{OACS: 1}).SecurityCommands() || (Controller{OACS: 0xfffe}).SecurityCommands() {
		t.Error("OACS bit 0")
	}
}
