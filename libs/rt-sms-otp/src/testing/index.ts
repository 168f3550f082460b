/** @module nestjs-rt-sms-otp/testing */
export { RtSmsOtpRecorder } from './recorder.js';
export { otpStoreConformance, type OtpStoreTest } from './conformance.js';
