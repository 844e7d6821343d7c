//! Outside formats, parse and print only: OpenAI chat, PEFT adapters, datasets
