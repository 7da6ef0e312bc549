module notice

go 1.21
