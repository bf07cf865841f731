module github.com/expunge-dev/expunge/tools

go 1.26.0
