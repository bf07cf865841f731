// Package devicetest is what every Transport must do, as tests, and the loop devices that tests
// of real nodes run on.
package devicetest
