// Package rules judges conditions that a site writes into its policy, in CEL, over facts about a drive, what
// was asked of it and who asked. A rule can only tighten: deny, ask for people's approval, or for at least a
// method. It permits nothing, and knows no drives: whoever asks gives the facts.
//
// A fact that is not known is not false, zero or empty: to read it is an error, and an error denies.
package rules
