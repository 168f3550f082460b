import { runSimulator } from 'nestjs-rt-sms-testing';

process.exitCode = await runSimulator();
