import { ApiProperty } from '@nestjs/swagger';
import { IsMsisdn } from 'nestjs-rt-sms';
import { IsString, MaxLength } from 'class-validator';

export class StartSignInDto {
  @ApiProperty({ example: '+7 999 000-00-01' })
  @IsMsisdn()
  msisdn!: string;
}

export class VerifySignInDto {
  @ApiProperty({ example: '123456' })
  @IsString()
  @MaxLength(40)
  code!: string;
}
