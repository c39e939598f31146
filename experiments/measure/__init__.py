"""What is learned from one run or from one step."""
