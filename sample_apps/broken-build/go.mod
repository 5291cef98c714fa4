module broken-build

go 1.19
