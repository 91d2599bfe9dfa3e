module flightrec

go 1.21
